"""Run the front door: the REST API and the TokenReview webhook on one TLS port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from labsandbox import certificates
from labsandbox.catalogue import Catalogue
from labsandbox.client import Client
from labsandbox.crowd import Crowd
from labsandbox.ezmeral import guard, kubeconfig, tokenreview, webhook
from labsandbox.ezmeral.accounts import Accounts
from labsandbox.ezmeral.directory import Directory
from labsandbox.ezmeral.inventory import Inventory
from labsandbox.ezmeral.rest import FrontDoor, PrepareTenant
from labsandbox.state import State

_HANDSHAKE_SECONDS, _BACKLOG = 15.0, 1024
_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class FrontDoorSettings:
    """How the front door is run."""

    host: str = "127.0.0.1"
    port: int = 8080
    session_seconds: float = 1440 * 60
    catalogue: Catalogue | None = None
    directory: Directory | None = None


async def run(
    client: Client,
    state: State,
    settings: FrontDoorSettings,
    accounts: Accounts,
    prepare: PrepareTenant,
    started: asyncio.Event | None = None,
) -> None:
    """Serve until cancelled; `prepare` makes what a new tenant needs in Kubernetes."""
    place = kubeconfig.Endpoint(
        gateway=f"{settings.host}:{settings.port}", kubernetes=client.access.server, ca=state.ca
    )

    door = FrontDoor(accounts, place, prepare, settings.session_seconds, settings.directory)
    app = door.application()
    Inventory(door, settings.host, state.ca, settings.catalogue).add_to(app)
    app.router.add_post(webhook.PATH, tokenreview.handler(accounts, webhook.secret(state)))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        context = certificates.server_context(state.pki, "ezmeral", (*_HOSTS, settings.host))
        assert runner.server is not None
        listener = await asyncio.get_running_loop().create_server(
            guard.guarded(runner.server, Crowd()),
            settings.host,
            settings.port,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            reuse_address=True,
            backlog=_BACKLOG,
        )
        try:
            if started:
                started.set()
            await asyncio.Event().wait()
        finally:
            listener.close()
    finally:
        await runner.cleanup()
