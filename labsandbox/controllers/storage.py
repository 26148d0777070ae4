"""The controllers of storage and quotas: what each takes from the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsandbox.client import Resource, resources
from labsandbox.controllers import claims, quota
from labsandbox.controllers.actions import Action
from labsandbox.controllers.engine import Controller, Key
from labsandbox.controllers.store import Store
from labsandbox.controllers.waking import Wakes, key_of

Object = dict[str, Any]
Decide = Callable[[Store, Key], list[Action]]


def _claim(state: Path) -> Decide:
    def decide(store: Store, key: Key) -> list[Action]:
        found = store[resources.PVCS].objects.get(key)
        if found is None:
            return []
        return claims.reconcile(
            found,
            list(store[resources.PVS].everything()),
            list(store[resources.STORAGECLASSES].everything()),
            store[resources.PODS].of(key[0]),
            state,
        )

    return decide


def _wakes_claim(store: Store) -> Wakes:
    def wakes(resource: Resource, obj: Object) -> list[Key]:
        if resource == resources.PVCS:
            return [key_of(obj)]
        if resource == resources.PVS:
            reference = obj["spec"].get("claimRef")
            if reference:
                return [(reference["namespace"], reference["name"])]
            return _unbound(store)
        if resource == resources.STORAGECLASSES:
            return _unbound(store)
        if resource == resources.PODS:
            names = [
                source["claimName"]
                for volume in obj["spec"].get("volumes") or []
                if (source := volume.get("persistentVolumeClaim"))
            ]
            return [(obj["metadata"]["namespace"], name) for name in names]
        return []

    return wakes


def _unbound(store: Store) -> list[Key]:
    return [
        key
        for key, claim in store[resources.PVCS].objects.items()
        if not claim["spec"].get("volumeName")
    ]


def _volume(store: Store, key: Key) -> list[Action]:
    found = store[resources.PVS].objects.get(key)
    if found is None:
        return []
    reference = found["spec"].get("claimRef") or {}
    claim = store[resources.PVCS].objects.get(
        (reference.get("namespace"), reference.get("name", ""))
    )
    return claims.reconcile_volume(found, claim)


def _wakes_volume(resource: Resource, obj: Object) -> list[Key]:
    if resource == resources.PVS:
        return [key_of(obj)]
    if resource == resources.PVCS and obj["spec"].get("volumeName"):
        return [(None, obj["spec"]["volumeName"])]
    return []


def _class(store: Store, key: Key) -> list[Action]:
    return claims.ensure_class(list(store[resources.STORAGECLASSES].everything()))


def _wakes_class(resource: Resource, obj: Object) -> list[Key]:
    # Namespaces are there from the beginning: the first of them sets this going.
    name = obj["metadata"]["name"]
    is_first = resource == resources.NAMESPACES and name == "default"
    is_class = resource == resources.STORAGECLASSES and name == claims.CLASS
    return [(None, claims.CLASS)] if is_first or is_class else []


def _quota() -> Decide:
    seen: dict[Key, tuple[str, float]] = {}

    def decide(store: Store, key: Key) -> list[Action]:
        found = store[resources.RESOURCEQUOTAS].objects.get(key)
        if found is None:
            seen.pop(key, None)
            return []
        content = {
            plural if not group else f"{plural}.{group}": cache.of(key[0])
            for (group, plural), cache in store.caches.items()
        }
        version, now = found["metadata"]["resourceVersion"], time.monotonic()
        if key not in seen or seen[key][0] != version:
            seen[key] = version, now
        return quota.reconcile(found, content, now - seen[key][1])

    return decide


def _wakes_quota(store: Store) -> Wakes:
    def wakes(resource: Resource, obj: Object) -> list[Key]:
        namespace = obj["metadata"].get("namespace")
        if namespace is None or resource.plural in ("endpoints", "endpointslices"):
            return []
        return [key_of(found) for found in store[resources.RESOURCEQUOTAS].of(namespace)]

    return wakes


def make(store: Store, state: Path) -> list[Controller]:
    """Return the controllers of storage and quotas."""
    return [
        Controller("persistentvolume-controller", _claim(state), _wakes_claim(store)),
        Controller("persistentvolume-phase-controller", _volume, _wakes_volume),
        Controller("storageclass-publisher", _class, _wakes_class),
        Controller("resourcequota-controller", _quota(), _wakes_quota(store)),
    ]
