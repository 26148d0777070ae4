"""Run the notebook server of this pod."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import urllib.request
from pathlib import Path

from labapps import applied, log
from labapps.configmeta import CONFIGMETA, follow
from labapps.listen import bind
from labapps.notebook.home import Home
from labapps.place import Place
from labapps.programs import Program, stopped

CONFIG = Path(__file__).parent / "jupyter_config.py"
logger = logging.getLogger(__name__)


def answers(host: str) -> bool:
    """Tell whether the server answers."""
    try:
        urllib.request.urlopen(f"http://{host}:8000/api", timeout=5).close()
    except OSError:
        return False
    return True


async def run() -> None:
    place = Place.from_env()
    applied.forget(place)
    server: Program | None = None
    stop = asyncio.create_task(stopped())

    async def keep_up() -> None:
        nonlocal server
        async for meta in follow(place.path(CONFIGMETA)):
            home = Home(place, meta)
            complaints = await home.prepare(meta)
            for complaint in complaints:
                logger.error("%s", complaint)
            if server is None:
                for free in bind(place.listen, [8000]):
                    free.close()
                env = os.environ | home.connections_set(meta) | home.server_environment(meta)
                command = [sys.executable, "-m", "jupyterlab", f"--config={CONFIG}"]
                server = Program("jupyterlab", command, env, home.folder)
                server.start()
            address = "127.0.0.1" if place.listen == "0.0.0.0" else place.listen
            while not await asyncio.to_thread(answers, address):
                await asyncio.sleep(0.1)
            applied.report(place, meta.digest, complaints)

    keeper = asyncio.create_task(keep_up())
    await asyncio.wait([stop, keeper], return_when=asyncio.FIRST_COMPLETED)
    keeper.cancel()
    if server is not None:
        await server.stop()
    if keeper.done() and not keeper.cancelled() and keeper.exception():
        raise keeper.exception() or SystemExit(1)


if __name__ == "__main__":
    log.set_up()
    asyncio.run(run())
