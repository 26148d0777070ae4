"""Run the notebook server of this pod."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import urllib.request
from pathlib import Path

from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, follow
from labapps.member.place import Place
from labapps.member.programs import Program, until_told
from labapps.notebook.home import Home
from labapps.web.listen import bind

PORT = 8000
CONFIG = Path(__file__).parent / "jupyter_config.py"
logger = logging.getLogger(__name__)


def answers(host: str, port: int) -> bool:
    """Tell whether the server answers."""
    try:
        urllib.request.urlopen(f"http://{host}:{port}/api", timeout=5).close()
    except OSError:
        return False
    return True


async def run() -> None:
    place = Place.from_env()
    applied.forget(place)
    server: Program | None = None

    async def keep_up() -> None:
        nonlocal server
        async for meta in follow(place.path(CONFIGMETA)):
            home = Home(place, meta)
            complaints = await home.prepare(meta)
            for complaint in complaints:
                logger.error("%s", complaint)
            if server is None:
                for free in bind(place.listen, [place.port(PORT)]):
                    free.close()
                env = os.environ | home.connections_set(meta) | home.server_environment(meta)
                command = [sys.executable, "-m", "jupyterlab", f"--config={CONFIG}"]
                server = Program("jupyterlab", command, env, home.folder)
                server.start()
            address = "127.0.0.1" if place.listen == "0.0.0.0" else place.listen
            while not await asyncio.to_thread(answers, address, place.port(PORT)):
                await asyncio.sleep(0.1)
            applied.report(place, meta.digest, complaints)

    async def end() -> None:
        if server is not None:
            await server.stop()

    await until_told(keep_up(), end)


if __name__ == "__main__":
    log.set_up()
    asyncio.run(run())
