"""Discovery of what the server has, when a part of it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from labsandbox.client import ApiError, Client, Resource
from labsandbox.client.kubeconfig import Access
from labsandbox.controllers.store import Store

pytestmark = pytest.mark.fast

VERBS = ["list", "watch", "delete"]
MAPS = {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": VERBS}
THINGS = {"name": "things", "kind": "Thing", "namespaced": True, "verbs": VERBS}
GADGETS = {"name": "gadgets", "kind": "Gadget", "namespaced": True, "verbs": VERBS}


class Server(Client):
    """A server with two groups; the first of them answers or does not."""

    def __init__(self) -> None:
        super().__init__(Access("https://127.0.0.1:9", "default"))
        self.is_broken = True

    async def request(self, method: str, path: str, **options: Any) -> Any:
        groups = [
            {"name": name, "preferredVersion": {"version": "v1"}} for name in ("a.test", "b.test")
        ]
        if path == "/apis/a.test/v1" and self.is_broken:
            raise ApiError(503, "ServiceUnavailable", "the server is currently unable to handle it")
        return {
            "/apis": {"groups": groups},
            "/api/v1": {"resources": [MAPS]},
            "/apis/a.test/v1": {"resources": [GADGETS]},
            "/apis/b.test/v1": {"resources": [THINGS]},
        }[path]

    async def list_with_version(self, resource: Resource, *_: Any, **__: Any) -> Any:
        meta = {"name": "x", "namespace": "n", "uid": resource.plural, "resourceVersion": "1"}
        return [{"metadata": meta}], "1"

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


async def discover(server: Server, *broken: bool) -> tuple[list[set[str]], list[str]]:
    """Discover once for each of `broken`; return what is known after each time, and deletions."""
    store, known, deleted = Store(server), [], []
    store.caches.clear()

    def note(resource: Resource, kind: str, old: Any, new: Any) -> None:
        if kind == "DELETED":
            deleted.append(resource.plural)

    store.watchers.append(note)
    for server.is_broken in broken:
        await store._discover()
        for cache in store.caches.values():
            await cache.synced.wait()
        known.append({plural for _, plural in store.caches})
    await store.stop()
    await server.close()
    return known, deleted


def test_discovery_goes_on_without_a_group_that_does_not_answer() -> None:
    known, _ = asyncio.run(discover(Server(), True, False))
    assert known == [{"configmaps", "things"}, {"configmaps", "things", "gadgets"}]


def test_objects_of_a_group_that_stops_answering_are_not_taken_for_deleted() -> None:
    known, deleted = asyncio.run(discover(Server(), False, True))
    assert known[1] == {"configmaps", "things", "gadgets"}
    assert deleted == []
