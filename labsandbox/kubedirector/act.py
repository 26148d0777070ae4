"""Doing what a plan says: create, change and delete objects."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import aiohttp

from labsandbox.client import ApiError, Client, Resource
from labsandbox.client.resources import KDCLUSTERS
from labsandbox.kubedirector.model import (
    ANNOTATION_CONNECTIONS,
    FINALIZER,
    Object,
    annotations_of,
    counter,
    is_owned,
)
from labsandbox.kubedirector.reconcile.plan import Action, Bump, Create, Delete, Patch, Plan
from labsandbox.kubedirector.store import Store

_AT_ONCE = 16


class Actor:
    """Carries actions out and tells the store what came of them."""

    def __init__(self, client: Client, store: Store) -> None:
        self.client = client
        self.store = store
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._counting: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def perform(self, cluster: Object, actions: list[Action]) -> list[str]:
        """Carry out actions at the same time; return what failed, in words."""
        outcomes = await asyncio.gather(*(self._try(cluster, action) for action in actions))
        return [outcome for outcome in outcomes if outcome]

    async def write_metadata(self, cluster: Object, plan: Plan) -> Object:
        """Write the annotations, labels and finalizer of a plan to the kdcluster."""
        meta: Object = {}
        if plan.annotations:
            meta["annotations"] = plan.annotations
        if plan.labels:
            meta["labels"] = plan.labels
        if plan.finalizer is not None:
            kept = [f for f in cluster["metadata"].get("finalizers") or [] if f != FINALIZER]
            meta["finalizers"] = [*kept, FINALIZER] if plan.finalizer else kept
            # The list is written as a whole; this version makes sure that it is the list we read.
            meta["resourceVersion"] = cluster["metadata"]["resourceVersion"]
        if not meta:
            return cluster
        place = cluster["metadata"]
        changed = await self.client.patch(
            KDCLUSTERS, place["name"], place["namespace"], {"metadata": meta}
        )
        self.store.put(KDCLUSTERS, changed)
        return changed

    async def write_status(self, cluster: Object, status: Object) -> Object:
        """Replace the status of the kdcluster."""
        place = cluster["metadata"]
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": place["uid"]},
            {"op": "add", "path": "/status", "value": status},
        ]
        changed = await self.client.patch(
            KDCLUSTERS, place["name"], place["namespace"], patch, kind="json", subresource="status"
        )
        self.store.put(KDCLUSTERS, changed)
        return changed

    async def bump(self, namespace: str, name: str) -> None:
        """Count up a kdcluster's connUpdateCounter."""
        async with self._counting[namespace, name]:
            await self._bump(namespace, name)

    async def _bump(self, namespace: str, name: str) -> None:
        cluster = self.store.get(KDCLUSTERS, namespace, name)
        if cluster is None:
            return
        count = counter(annotations_of(cluster), ANNOTATION_CONNECTIONS) + 1
        patch = {"metadata": {"annotations": {ANNOTATION_CONNECTIONS: str(count)}}}
        try:
            self.store.put(KDCLUSTERS, await self.client.patch(KDCLUSTERS, name, namespace, patch))
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def _try(self, cluster: Object, action: Action) -> str | None:
        namespace = cluster["metadata"]["namespace"]
        failure = getattr(action, "failure", "failed to tell a connected cluster")
        try:
            async with self._slots:
                if isinstance(action, Create):
                    await self._create(cluster, action.resource, action.obj)
                elif isinstance(action, Patch):
                    changed = await self.client.patch(
                        action.resource, action.name, namespace, action.patch
                    )
                    self.store.put(action.resource, changed)
                elif isinstance(action, Delete):
                    await self._delete(namespace, action)
                elif isinstance(action, Bump):
                    await self.bump(namespace, action.cluster)
        except ApiError as error:
            return f"{failure}: {error.message}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"{failure}: {error or type(error).__name__}"
        return None

    async def _create(self, cluster: Object, resource: Resource, obj: Object) -> None:
        try:
            made = await self.client.create(resource, obj, obj["metadata"]["namespace"])
        except ApiError as error:
            if not error.is_already_there:
                raise
            # Made by an operator that was killed before it could say so.
            place = obj["metadata"]
            made = await self.client.get(resource, place["name"], place["namespace"])
            if not is_owned(made, cluster):
                raise
        self.store.put(resource, made)

    async def _delete(self, namespace: str, action: Delete) -> None:
        try:
            await self.client.delete(
                action.resource, action.name, namespace, propagation="Background"
            )
        except ApiError as error:
            if not error.is_not_found:
                raise
