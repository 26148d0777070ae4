"""The role LoadBalancer: holds the queue, gives jobs to the RESTServers, answers learners."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from labapps.member import applied, login
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.place import Place
from labapps.queue.dispatch import Dispatcher
from labapps.queue.job import Limits
from labapps.queue.record import Records
from labapps.queue.store import Store
from labapps.training.api import Api
from labapps.web.server import bind, reply_with, serve

__all__ = ["engine_folder", "run"]

log = logging.getLogger(__name__)
PORTS = (10001, 32700, 8081)
STATE = "/var/lib/training-engine"


def engine_folder(meta: Configmeta) -> str:
    """Name the folder of this engine's jobs; a new cluster of the same name has its own."""
    return f"jobs/{meta.cluster}-{meta.cluster_id[:8]}".rstrip("-")


async def run(place: Place, meta: Configmeta) -> None:
    """Hold the queue until SIGTERM."""
    store = Store(place.path(STATE) / "queue.db")
    records = Records(place.repository / engine_folder(meta))
    if store.is_new and (count := records.restore(store)):
        log.info("%d jobs came back from the project repository", count)
    dispatcher = Dispatcher(store, records, Limits.from_env("TRAINING_"))
    api = Api(dispatcher)
    api.base = f"http://{meta.host}:{PORTS[0]}"
    _apply(api, meta)
    tasks = [asyncio.create_task(_follow(place, api)), asyncio.create_task(_look_after(dispatcher))]
    try:
        await serve(reply_with(api.handle), bind(place.listen, map(place.port, PORTS)), grace=2)
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        store.close()


def _apply(api: Api, meta: Configmeta) -> None:
    api.tokens = meta.tokens()
    api.login = login.find(meta)


async def _follow(place: Place, api: Api) -> None:
    async for meta in follow(place.path(CONFIGMETA)):
        _apply(api, meta)
        applied.report(place, meta.digest)


async def _look_after(dispatcher: Dispatcher) -> None:
    while True:
        await asyncio.sleep(0.5)
        try:
            dispatcher.look_after()
        except Exception:
            log.exception("The queue could not be looked after")
