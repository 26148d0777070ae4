"""The controllers: clients of the API that bring what is closer to what is wanted."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from labsandbox import tree
from labsandbox.client import Client, Resource, resources
from labsandbox.controllers import claims, wiring
from labsandbox.controllers.collecting import Collecting
from labsandbox.controllers.engine import Engine
from labsandbox.controllers.scaling import Scaling
from labsandbox.controllers.store import Store

__all__ = ["run"]

Object = dict[str, Any]


async def run(client: Client, state: Path) -> None:
    """Run all controllers until cancelled."""
    state = Path(state).resolve()
    store = Store(client)
    engine = Engine(client, store, wiring.make(store, client.access.ca_pem or "", state))
    collecting = Collecting(client, store, engine)
    store.watchers.append(_folder_remover(state))
    try:
        async with asyncio.TaskGroup() as group:
            await store.start()
            group.create_task(engine.run(), name="controllers")
            group.create_task(store.follow_all(), name="all collections")
            group.create_task(collecting.run(), name="garbage collector")
            group.create_task(Scaling(client, store, engine).run(), name="autoscaling")
    finally:
        await store.stop()


def _folder_remover(state: Path) -> Any:
    """Return a watcher that removes the folder of a volume that is gone."""

    def watch(resource: Resource, kind: str, old: Object | None, new: Object) -> None:
        folder = claims.doomed_folder(new, state) if resource == resources.PVS else None
        if kind == "DELETED" and folder is not None:
            asyncio.get_running_loop().run_in_executor(None, _remove, folder)

    return watch


def _remove(folder: Path) -> None:
    """Remove a volume's folder, and its namespace's when that was the last one."""
    tree.remove(str(folder))  # which pods filled, to whatever depth and with whatever modes
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
