"""All collections the controllers know, those of custom resources included."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import aiohttp

from labsandbox.client import ApiError, Client, ClientError, Resource, resources
from labsandbox.controllers.cache import Cache

log = logging.getLogger(__name__)

Object = dict[str, Any]
Watcher = Callable[[Resource, str, Object | None, Object], Any]

FULL = (
    resources.PODS,
    resources.SERVICES,
    resources.ENDPOINTS,
    resources.ENDPOINTSLICES,
    resources.NAMESPACES,
    resources.SERVICEACCOUNTS,
    resources.PVCS,
    resources.PVS,
    resources.STORAGECLASSES,
    resources.RESOURCEQUOTAS,
    resources.NODES,
    resources.STATEFULSETS,
    resources.CONTROLLERREVISIONS,
    resources.REPLICASETS,
    resources.REPLICATIONCONTROLLERS,
    resources.PDBS,
    resources.CSRS,
    resources.HPAS,
    resources.DEPLOYMENTS,
    resources.DAEMONSETS,
    resources.JOBS,
    resources.CRONJOBS,
)
NODE_LEASES = "kube-node-lease"
# Nobody owns these, or they change so often that following them would cost more than it gives.
_IGNORED = {"events", "leases", "componentstatuses"}
_PAUSE, _RETRY = 0.2, 5.0


class Store:
    """The caches by resource."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.caches: dict[tuple[str, str], Cache] = {}
        self.watchers: list[Watcher] = []
        self.namespaced: list[Resource] = []
        for resource in FULL:
            self._add(resource, is_partial=False)
        # Of leases only those of nodes: others are renewed all the time and say nothing here.
        self._add(resources.LEASES, is_partial=False).namespace = NODE_LEASES

    def __getitem__(self, resource: Resource) -> Cache:
        return self.caches[resource.group, resource.plural]

    def _add(self, resource: Resource, is_partial: bool) -> Cache:
        cache = Cache(self.client, resource, is_partial)
        self.caches[resource.group, resource.plural] = cache

        def tell(kind: str, old: Object | None, new: Object) -> None:
            for watcher in self.watchers:
                watcher(resource, kind, old, new)

        cache.listeners.append(tell)
        return cache

    async def start(self) -> None:
        """Fill the caches the controllers decide from."""
        await asyncio.gather(*(cache.start() for cache in self.caches.values()))

    async def stop(self) -> None:
        """Stop following."""
        await asyncio.gather(*(cache.stop() for cache in self.caches.values()))

    async def follow_all(self) -> None:
        """Follow every other resource the server has, new ones when they come, for ever."""
        crds = self._add(resources.CRDS, is_partial=False)
        changed = asyncio.Event()
        crds.listeners.append(lambda *_: changed.set())
        await crds.start()
        while True:
            changed.clear()
            try:
                unavailable = await self._discover()
            except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.info("discovery failed: %s", error)
                await asyncio.sleep(0.5)
                continue
            except Exception:
                log.exception("discovery failed; again in %.0f s", _RETRY)
                await asyncio.sleep(_RETRY)
                continue
            if unavailable:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _RETRY)
            elif not self._has_pending(crds):
                await changed.wait()
            # A definition is served a moment after it is stored.
            await asyncio.sleep(_PAUSE)

    def _has_pending(self, crds: Cache) -> bool:
        return any(
            not any(
                c["type"] == "Established" and c["status"] == "True"
                for c in (crd.get("status") or {}).get("conditions") or []
            )
            for crd in crds.everything()
        )

    async def _discover(self) -> set[str]:
        """Follow what the server has; return the groups that could not be read.

        What is known of such a group stays: its objects have not gone, nobody answers for them.
        """
        found, unavailable = await discover(self.client)
        kept = [c.resource for c in self.caches.values() if c.resource.group in unavailable]
        known = {(r.group, r.plural) for r in [*found, *kept]}
        self.namespaced = [r for r in [*found, *kept] if r.namespaced and r.plural not in _IGNORED]
        for resource in found:
            if resource.plural in _IGNORED:
                continue
            if (resource.group, resource.plural) not in self.caches:
                await self._add(resource, is_partial=True).start(wait=False)
        for key in [key for key in self.caches if key not in known]:
            cache = self.caches.pop(key)
            for obj in cache.everything():
                for watcher in self.watchers:
                    watcher(cache.resource, "DELETED", obj, obj)
            await cache.stop()
        return unavailable


async def discover(client: Client) -> tuple[list[Resource], set[str]]:
    """Return every resource that can be listed, watched and deleted, in its preferred version.

    Also return the groups that do not answer: an aggregated API whose server is away must not hide
    all the others.
    """
    groups = [("", "v1", "/api/v1")]
    for group in (await client.request("GET", "/apis"))["groups"]:
        version = group["preferredVersion"]["version"]
        groups.append((group["name"], version, f"/apis/{group['name']}/{version}"))
    found, unavailable = [], set()
    for group, version, path in groups:
        try:
            listed = await client.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                continue  # Its definition was removed meanwhile.
            log.info("the API group %s is not available: %s", group or "core", error.message)
            unavailable.add(group)
            continue
        for entry in listed["resources"]:
            if "/" not in entry["name"] and {"list", "watch", "delete"} <= set(entry["verbs"]):
                found.append(
                    Resource(group, version, entry["name"], entry["kind"], entry["namespaced"])
                )
    return found, unavailable
