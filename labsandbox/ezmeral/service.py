"""Run the front door: the REST API and the TokenReview webhook on one TLS port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from labsandbox import certificates
from labsandbox.client import Client
from labsandbox.ezmeral import kubeconfig, tenants, tokenreview, webhook
from labsandbox.ezmeral.accounts import Accounts, Tenant
from labsandbox.ezmeral.rest import FrontDoor
from labsandbox.state import State

_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the front door is run."""

    host: str = "127.0.0.1"
    port: int = 8080
    session_seconds: float = 1440 * 60
    quota: dict[str, str] | None = None


async def run(
    client: Client,
    state: State,
    settings: Settings,
    accounts: Accounts,
    started: asyncio.Event | None = None,
) -> None:
    """Serve until cancelled."""
    place = kubeconfig.Place(
        gateway=f"{settings.host}:{settings.port}", kubernetes=client.access.server, ca=state.ca
    )

    async def prepare(tenant: Tenant) -> None:
        await tenants.ensure_tenant(client, tenant, state.projects, settings.quota)

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
