"""Run Airflow in this pod: API server, scheduler, DAG processor and triggerer, under one parent.

Airflow's own `standalone` forces an executor and leaves its children behind when it ends; here each
component has a process group of its own, is started again when it ends, and ends with the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import sys
import urllib.request
from pathlib import Path

from labapps.airflow import database, settings
from labapps.airflow import keys as secret
from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.place import Place
from labapps.member.programs import Program, until_told

logger = logging.getLogger(__name__)

# The servers of log files would listen on all addresses; all components see the same files here.
COMPONENTS = {
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
GRACE = 5.0


def airflow(*words: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *words]


class Airflow:
    """The components, and the settings that they were started with."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.state = settings.home(place)
        self.env: dict[str, str] = {}
        self.programs: list[Program] = []

    async def take(self, meta: Configmeta) -> None:
        """Bring the components to a configuration; they start again when a setting changed."""
        secret.write_passwords(self.state, meta.tokens())
        env = settings.environment(self.place, meta, secret.keys(self.state))
        if env != self.env:
            await self.stop()
            self.env = env
            for name in ("dags", "logs"):
                (settings.shared(self.place, meta) / name).mkdir(parents=True, exist_ok=True)
            await self.migrate()
            self.programs = [
                Program(name, airflow(*words), env, self.state, is_group=True)
                for name, words in COMPONENTS.items()
            ]
            for program in self.programs:
                program.start()
        await self.healthy()

    async def migrate(self) -> None:
        """Create or update the database; with SQLite, readers go on while somebody writes."""
        address = self.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        if address.startswith("postgresql+psycopg2:"):
            await asyncio.to_thread(database.make, address)
        process = await asyncio.create_subprocess_exec(
            *airflow("db", "migrate"), env=self.env, cwd=self.state, stdout=sys.stderr
        )
        if await process.wait():
            sys.exit("`airflow db migrate` failed; the lines above say why.")
        path = Path(address.removeprefix("sqlite:///"))
        if path.is_file():
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")

    async def healthy(self) -> None:
        """Return when every component has reported to the database."""
        address = self.env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].removesuffix("/execution/")
        while True:
            with contextlib.suppress(OSError, ValueError):
                found = await asyncio.to_thread(health, f"{address}/api/v2/monitor/health")
                if all(found.get(name) == "healthy" for name in PARTS):
                    return
            await asyncio.sleep(0.3)

    async def stop(self) -> None:
        await asyncio.gather(*(program.stop(GRACE) for program in self.programs))
        self.programs = []


PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def health(url: str) -> dict[str, str]:
    """Return what Airflow says of its components."""
    with urllib.request.urlopen(url, timeout=5) as reply:
        return {name: str(part.get("status")) for name, part in json.load(reply).items()}


async def keep_up(place: Place, airflow: Airflow) -> None:
    """Take over what KubeDirector writes; it is in force when Airflow is healthy."""
    async for meta in follow(place.path(CONFIGMETA)):
        await airflow.take(meta)
        applied.report(place, meta.digest)
        logger.info("Airflow is ready on port %d", settings.PORT)


async def run() -> None:
    """Run until the pod is told to stop."""
    place = Place.from_env()
    applied.forget(place)
    made = Airflow(place)
    made.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    await until_told(keep_up(place, made), made.stop)


def run_in_here(words: list[str]) -> None:
    """Become another program of Airflow's environment, as in a task's pod."""
    beside, place = Path(sys.executable).parent, Place.from_env()
    env = dict(os.environ) | {"PATH": f"{beside}:{os.environ.get('PATH', '')}"}
    if cluster := env.get("LABS_AIRFLOW"):
        env = settings.of_worker(place, cluster, env)
    os.environ["PATH"] = env["PATH"]
    os.execvpe(words[0], words, env)


def main() -> None:
    """Run the components, or the words behind the program's name in place of them."""
    if sys.argv[1:]:
        run_in_here(sys.argv[1:])
    log.set_up()
    asyncio.run(run())


if __name__ == "__main__":
    main()
