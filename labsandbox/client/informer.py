"""Keep a live copy of a collection: list once, then watch, for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiohttp

from labsandbox.client.api import Client, Object
from labsandbox.client.errors import ApiError, ClientError
from labsandbox.client.resources import Resource

log = logging.getLogger(__name__)

Key = tuple[str | None, str]
Listener = Callable[[str, Object | None, Object], Any]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


def key_of(obj: Object) -> Key:
    """Return the (namespace, name) an object is known by."""
    return obj["metadata"].get("namespace"), obj["metadata"]["name"]


class Informer:
    """A cache of one collection that tells its listeners what changed.

    A listener is called with ("ADDED" | "MODIFIED" | "DELETED", old or None, new). After a gap the
    collection is listed again and the difference is told, so no change stays unnoticed.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> None:
        self.client = client
        self.resource = resource
        self.namespace = namespace
        self.labels, self.fields = labels, fields
        self.objects: dict[Key, Object] = {}
        self.listeners: list[Listener] = []
        self.synced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, wait: bool = True) -> None:
        """Begin to follow the collection; by default return when the first list is in."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name=f"watch {self.resource.plural}")
        if wait:
            await self.synced.wait()

    async def stop(self) -> None:
        """Stop following."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def get(self, name: str, namespace: str | None = None) -> Object | None:
        """Return the cached object, or None."""
        return self.objects.get((namespace, name))

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        version: str | None = None
        while True:
            try:
                if version is None:
                    version = await self._relist()
                    pause = _FIRST_PAUSE
                async for kind, obj in self.client.watch(
                    self.resource,
                    self.namespace,
                    resource_version=version,
                    labels=self.labels,
                    fields=self.fields,
                ):
                    version = obj["metadata"]["resourceVersion"]
                    pause = _FIRST_PAUSE
                    if kind != "BOOKMARK":
                        self._accept(kind, obj)
                # A server that ends each watch at once is not asked again without a pause.
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
                if isinstance(error, ApiError) and error.status in (404, 410, 500):
                    version = None
                log.debug("watch of %s broke: %s", self.resource.plural, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception:
                # An answer nobody expected: begin again, for the others still need the rest.
                log.exception("watch of %s failed", self.resource.plural)
                version = None
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _relist(self) -> str:
        items, version = await self.client.list_with_version(
            self.resource, self.namespace, labels=self.labels, fields=self.fields
        )
        current = {key_of(item): item for item in items}
        for key in [key for key in self.objects if key not in current]:
            self._accept("DELETED", self.objects[key])
        for key, item in current.items():
            old = self.objects.get(key)
            if old is None:
                self._accept("ADDED", item)
            elif old["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._accept("MODIFIED", item)
        self.synced.set()
        return version

    def _accept(self, kind: str, obj: Object) -> None:
        """Take an object in; one that cannot be taken must not end the watch of all others."""
        try:
            self._take(kind, obj)
        except Exception:
            log.exception("%s %s was left out", self.resource.kind, obj["metadata"].get("name"))

    def _take(self, kind: str, obj: Object) -> None:
        # Half of many an object, and nothing that reads a cache asks who owns which field.
        obj["metadata"].pop("managedFields", None)
        key = key_of(obj)
        old = self.objects.get(key)
        if kind == "DELETED":
            self.objects.pop(key, None)
        else:
            kind = "ADDED" if old is None else "MODIFIED"
            self.objects[key] = obj
        for listener in self.listeners:
            try:
                listener(kind, old, obj)
            except Exception:
                # One listener's bug must not end the watch all the others live on.
                log.exception("a listener of %s failed", self.resource.plural)
