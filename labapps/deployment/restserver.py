"""The role RESTServer: follow configmeta.json, load models, answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from typing import TYPE_CHECKING

from labapps.deployment.spec import NEEDS, SpecError, read_spec
from labapps.forks.client import Zygote
from labapps.member import applied
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.place import Place

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
    from labapps.deployment.registered import Registered
    from labapps.deployment.registry import Registry, Settings
    from labapps.member.events import Events
    from labapps.web.server import bind, reply_with, serve

    settings = Settings.from_env()
    registry = Registry(place, zygote, settings, Registered(place))
    api = Api(registry, Metrics())
    api.tokens, api.host = meta.tokens(), meta.host
    members = meta.members("RESTServer")
    if members and members[0].host == meta.host:  # one of us tells; all of us log
        registry.on_complaint = Events(place, meta).warn
    sockets = bind(place.listen, [place.port(PORT)])
    followers = [
        asyncio.create_task(_follow(place, api, settings)),
        asyncio.create_task(registry.follow()),
    ]
    for follower in followers:
        follower.add_done_callback(_end_with)

    def drain() -> None:
        api.draining = True

    try:
        await serve(reply_with(api.handle), sockets, on_stop=drain)
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)
        await registry.close()
        await zygote.close()
    for follower in followers:
        if not follower.cancelled():
            follower.result()  # it never ends by itself: raise what ended it


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
        if (configmap.get("data") or {}).get("model-uri"):  # its format is known later
            found.update(dict.fromkeys(NEEDS["skops"]))
        with contextlib.suppress(SpecError, OSError):
            found.update(dict.fromkeys(read_spec(configmap, place).needs))
    return list(found)


def _end_with(task: asyncio.Task[None]) -> None:
    """End the process with its follower: an engine that serves a stale configuration hides it."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("The engine can no longer follow its configuration", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)
