"""The role RESTServer: follow configmeta.json, load models, answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from labapps import applied
from labapps.configmeta import CONFIGMETA, Configmeta, follow
from labapps.deployment.spec import SpecError, read_spec
from labapps.forks import Zygote
from labapps.place import Place

if TYPE_CHECKING:
    from labapps.deployment.api import Api
    from labapps.deployment.registry import Settings

__all__ = ["run"]

log = logging.getLogger(__name__)
PORT = 10001


async def run(place: Place, meta: Configmeta) -> None:
    """Serve until SIGTERM."""
    zygote = Zygote(_first_modules(meta, place))
    await zygote.launch()
    # The zygote imports for seconds; what this process needs is imported beside that.
    from labapps.deployment.api import Api
    from labapps.deployment.metrics import Metrics
    from labapps.deployment.registry import Registry, Settings
    from labapps.events import Events
    from labapps.server import bind, reply_with, serve

    settings = Settings.from_env()
    registry = Registry(place, zygote, settings)
    api = Api(registry, Metrics())
    api.tokens, api.host = meta.tokens(), meta.host
    members = meta.members("RESTServer")
    if members and members[0].host == meta.host:  # one of us tells; all of us log
        registry.on_complaint = Events(place, meta).warn
    sockets = bind(place.listen, [PORT])
    follower = asyncio.create_task(_follow(place, api, settings))
    follower.add_done_callback(_report)

    def drain() -> None:
        api.draining = True

    try:
        await serve(reply_with(api.handle), sockets, on_stop=drain)
    finally:
        follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await follower
        await registry.close()
        await zygote.close()


async def _follow(place: Place, api: Api, settings: Settings) -> None:
    async for meta in follow(place.path(CONFIGMETA)):
        api.tokens, api.host = meta.tokens(), meta.host
        complaints = await api.registry.apply(meta)
        api.started = True
        applied.report(place, meta.digest, complaints)
        # The libraries that no model needs yet, so that the next model need not wait for them.
        await api.registry.zygote.preload(settings.preload)


def _first_modules(meta: Configmeta, place: Place) -> list[str]:
    """Import first what the connected models need: they answer sooner."""
    found: dict[str, None] = {"labapps.deployment.worker": None, "labapps.deployment.runner": None}
    for configmap in meta.configmaps("model"):
        with contextlib.suppress(SpecError, OSError):
            found.update(dict.fromkeys(read_spec(configmap, place).needs))
    return list(found)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.critical("The engine no longer follows its configuration", exc_info=task.exception())
