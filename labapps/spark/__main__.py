"""Run the Spark daemons of the role that configmeta.json gives to this pod."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.place import Place
from labapps.member.programs import Program, until_told
from labapps.spark import daemons, executor
from labspark.java import java_home

EVENTS = "spark-events"
PORTS = {"master": (7077, 8080, 18080), "worker": (8081,)}
logger = logging.getLogger(__name__)


def plan(place: Place, meta: Configmeta) -> list[daemons.Daemon]:
    """Return the daemons of this pod's role."""
    state = place.path("/var/lib/spark")
    state.mkdir(parents=True, exist_ok=True)
    home = java_home(state)
    config = Path(__file__).parent / "log4j2.properties"
    if meta.role == "master":
        events = place.repository / EVENTS
        events.mkdir(parents=True, exist_ok=True)
        return [
            daemons.master(home, meta.host, place.listen, config, state),
            daemons.history(home, place.listen, config, events),
        ]
    if meta.role == "worker":
        masters = ",".join(f"{m.host}:7077" for m in meta.members("master"))
        cores, memory = daemons.share(meta.flavor())
        return [
            daemons.worker(
                home,
                meta.host,
                place.listen,
                config,
                state,
                f"spark://{masters}",
                cores,
                memory,
            )
        ]
    sys.exit(f"Expected one of the roles {', '.join(PORTS)}; found {meta.role}.")


async def listens(host: str, port: int) -> bool:
    """Tell whether a port answers."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def run() -> None:
    place = Place.from_env()
    applied.forget(place)
    programs: list[Program] = []

    async def keep_up() -> None:
        async for meta in follow(place.path(CONFIGMETA)):
            if not programs:
                # A worker that finds no master tries again only after many seconds.
                for master in meta.members("master") if meta.role == "worker" else []:
                    while not await listens(master.host, 7077):
                        await asyncio.sleep(0.1)
                for daemon in plan(place, meta):
                    logger.info("%s: %s", meta.host, daemon.name)
                    programs.append(Program(daemon.name, daemon.argv, os.environ | daemon.env))
                    programs[-1].start()
            address = "127.0.0.1" if place.listen == "0.0.0.0" else place.listen
            for port in PORTS[meta.role]:
                while not await listens(address, port):
                    await asyncio.sleep(0.1)
            applied.report(place, meta.digest)

    async def end() -> None:
        for program in programs:
            await program.stop()

    await until_told(keep_up(), end)


if __name__ == "__main__":
    if sys.argv[1:2] == [executor.WORD]:
        executor.replace_process()
    log.set_up()
    asyncio.run(run())
