"""The controllers: clients of the API that bring what is closer to what is wanted."""

from __future__ import annotations

import asyncio
from pathlib import Path

from labsandbox.client import Client
from labsandbox.controllers import wiring
from labsandbox.controllers.engine import Engine
from labsandbox.controllers.store import Store

__all__ = ["run"]


async def run(client: Client, state: Path) -> None:
    """Run all controllers until cancelled."""
    store = Store(client)
    engine = Engine(client, store, wiring.make(store, client.access.ca_pem or ""))
    try:
        async with asyncio.TaskGroup() as group:
            await store.start()
            group.create_task(engine.run(), name="controllers")
            group.create_task(store.follow_all(), name="all collections")
    finally:
        await store.stop()
