"""The garbage collector at work: what refers to what, over all collections of the store."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp

from labsandbox.client import ApiError, Client, ClientError, Resource
from labsandbox.controllers import collector
from labsandbox.controllers.engine import Controller, Engine
from labsandbox.controllers.store import Store
from labsandbox.controllers.work import Queue

log = logging.getLogger(__name__)

Object = dict[str, Any]

_WORKERS = 4
_REMEMBERED = 10_000


class Collecting:
    """Looks at each object whose owners or dependents changed."""

    def __init__(self, client: Client, store: Store, engine: Engine) -> None:
        self.client, self.store, self.engine = client, store, engine
        self.queue: Queue[str] = Queue()
        self._absent: dict[str, None] = {}
        self._controller = Controller("garbage-collector", lambda *_: [], lambda *_: [])
        store.watchers.append(self._wake)

    def _wake(self, resource: Resource, kind: str, old: Object | None, new: Object) -> None:
        meta = new["metadata"]
        if kind == "DELETED":
            self._remember_absent(meta["uid"])
            for _, dependent in self._dependents(meta["uid"]):
                self.queue.add(dependent["metadata"]["uid"])
        elif collector.needs_look(new):
            self.queue.add(meta["uid"])
            if meta.get("deletionTimestamp"):
                for _, dependent in self._dependents(meta["uid"]):
                    self.queue.add(dependent["metadata"]["uid"])
        references = meta.get("ownerReferences") or []
        if old is not None:
            references = [*references, *(old["metadata"].get("ownerReferences") or [])]
        for reference in references:
            owner = self._find(reference["uid"])
            if owner and owner[1]["metadata"].get("deletionTimestamp"):
                self.queue.add(reference["uid"])

    def _remember_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > _REMEMBERED:
            self._absent.pop(next(iter(self._absent)))

    def _find(self, uid: str) -> tuple[Resource, Object] | None:
        for cache in self.store.caches.values():
            if uid in cache.by_uid:
                return cache.resource, cache.by_uid[uid]
        return None

    def _dependents(self, uid: str) -> list[tuple[Resource, Object]]:
        return [
            (cache.resource, obj)
            for cache in self.store.caches.values()
            for obj in cache.owned(uid)
        ]

    async def run(self) -> None:
        """Collect for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_WORKERS):
                    group.create_task(self._work(), name="garbage-collector")
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            uid = await self.queue.get()
            try:
                await self._look(uid)
            except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
                self.queue.failed(uid)
                log.debug("collecting %s: %s", uid, error)
            except Exception:
                # One object's odd owner must not end the collection of all others.
                pause = self.queue.failed(uid)
                log.exception("collecting %s failed; again in %.2f s", uid, pause)
            else:
                self.queue.done(uid)

    async def _look(self, uid: str) -> None:
        found = self._find(uid)
        if found is None or not collector.needs_look(found[1]):
            return
        resource, item = found
        owners = [
            (reference, await self._state(item, reference))
            for reference in item["metadata"].get("ownerReferences") or []
        ]
        actions = collector.collect(resource, item, owners, self._dependents(uid))
        await self.engine.do_all(self._controller, actions)

    async def _state(self, item: Object, reference: Object) -> str:
        """Return what an owner is; what the caches do not hold is asked for before it is gone."""
        owner = self._find(reference["uid"])
        if owner is not None:
            return collector.state_of(owner[1])
        if reference["uid"] in self._absent:
            return collector.GONE
        resource = self._resource(reference)
        if resource is None:
            raise ClientError(f"no resource is known for the owner {reference}")
        namespace = item["metadata"].get("namespace") if resource.namespaced else None
        try:
            live = await self.client.get(resource, reference["name"], namespace)
        except ApiError as error:
            if error.status != 404:
                raise
            live = None
        if live is not None and live["metadata"]["uid"] == reference["uid"]:
            return collector.state_of(live)
        self._remember_absent(reference["uid"])
        return collector.GONE

    def _resource(self, reference: Object) -> Resource | None:
        group, _, version = reference["apiVersion"].rpartition("/")
        for cache in self.store.caches.values():
            resource = cache.resource
            if resource.group == group and resource.kind == reference["kind"]:
                return Resource(group, version, resource.plural, resource.kind, resource.namespaced)
        return None
