"""Run the front door: the REST API and the TokenReview webhook on one TLS port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from labsandbox import certificates
from labsandbox.client import Client
from labsandbox.ezmeral import kubeconfig, tokenreview, webhook
from labsandbox.ezmeral.accounts import Accounts
from labsandbox.ezmeral.rest import FrontDoor, PrepareTenant
from labsandbox.state import State

_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the front door is run."""

    host: str = "127.0.0.1"
    port: int = 8080
    session_seconds: float = 1440 * 60


async def run(
    client: Client,
    state: State,
    settings: Settings,
    accounts: Accounts,
    prepare: PrepareTenant,
    started: asyncio.Event | None = None,
) -> None:
    """Serve until cancelled; `prepare` makes what a new tenant needs in Kubernetes."""
    place = kubeconfig.Place(
        gateway=f"{settings.host}:{settings.port}", kubernetes=client.access.server, ca=state.ca
    )

    door = FrontDoor(accounts, place, prepare, settings.session_seconds)
    app = door.application()
    app.router.add_post(webhook.PATH, tokenreview.handler(accounts, webhook.secret(state)))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        context = certificates.server_context(state.pki, "ezmeral", _HOSTS)
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=context).start()
        if started:
            started.set()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
