"""Run the git server of this pod."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from labapps.gitserver.repositories import Repositories
from labapps.gitserver.service import Service
from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, follow
from labapps.member.place import Place
from labapps.web.server import bind, reply_with, serve

PORT = 3000
logger = logging.getLogger(__name__)


async def run() -> None:
    """Serve until SIGTERM; the port opens when the configuration is there."""
    place = Place.from_env()
    applied.forget(place)
    meta = await anext(follow(place.path(CONFIGMETA)))
    # Beside the pod, not in it: the repositories outlive the cluster that serves them.
    service = Service(Repositories(place.repository / "git" / meta.cluster), meta.tokens())
    sockets = bind(place.listen, [place.port(PORT)])

    async def keep_up() -> None:
        async for one in follow(place.path(CONFIGMETA)):
            service.tokens = one.tokens()
            applied.report(place, one.digest)

    keeper = asyncio.create_task(keep_up())
    logger.info("%s: git listens on %d", meta.host, PORT)
    try:
        await serve(reply_with(service.handle), sockets)
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


if __name__ == "__main__":
    log.set_up()
    asyncio.run(run())
