"""Garbage collection: what its owners no longer hold is deleted; how, the deleted owner says."""

from __future__ import annotations

from typing import Any

from labsandbox.client import Resource
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Delete, Patch

Object = dict[str, Any]

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
GONE, SOLID, WAITING = "gone", "solid", "waiting"

Dependent = tuple[Resource, Object]


def state_of(owner: Object | None) -> str:
    """Return what an owner is to its dependents."""
    if owner is None:
        return GONE
    if objects.is_deleted(owner) and FOREGROUND in _finalizers(owner):
        return WAITING
    return SOLID


def _finalizers(obj: Object) -> list[str]:
    found: list[str] = obj["metadata"].get("finalizers") or []
    return found


def needs_look(obj: Object) -> bool:
    """Say whether the collector has anything to decide about an object."""
    meta = obj["metadata"]
    if meta.get("deletionTimestamp"):
        return any(name in (FOREGROUND, ORPHAN) for name in _finalizers(obj))
    return bool(meta.get("ownerReferences"))


def collect(
    resource: Resource,
    item: Object,
    owners: list[tuple[Object, str]],
    dependents: list[Dependent],
) -> list[Action]:
    """Return what is due for one object, given its owners' states and its dependents."""
    meta = item["metadata"]
    if objects.is_deleted(item):
        if ORPHAN in _finalizers(item):
            return [*_release(item, dependents), _drop_finalizer(resource, item, ORPHAN)]
        if FOREGROUND in _finalizers(item) and not _blocking(item, dependents):
            return [_drop_finalizer(resource, item, FOREGROUND)]
        return []
    if not owners or all(state == SOLID for _, state in owners):
        return []
    if any(state == SOLID for _, state in owners):
        kept = [reference for reference, state in owners if state == SOLID]
        return [_set_owners(resource, item, kept)]
    if any(state == WAITING for _, state in owners) and dependents:
        propagation = "Foreground"
    elif ORPHAN in _finalizers(item):
        propagation = "Orphan"
    elif FOREGROUND in _finalizers(item):
        propagation = "Foreground"
    else:
        propagation = "Background"
    return [Delete(resource, meta["name"], meta.get("namespace"), meta["uid"], propagation)]


def _blocking(item: Object, dependents: list[Dependent]) -> bool:
    """Say whether a dependent still keeps its owner, which is deleted in the foreground."""
    uid = item["metadata"]["uid"]
    return any(
        reference["uid"] == uid and reference.get("blockOwnerDeletion")
        for _, dependent in dependents
        for reference in dependent["metadata"].get("ownerReferences") or []
    )


def _release(item: Object, dependents: list[Dependent]) -> list[Action]:
    uid = item["metadata"]["uid"]
    return [
        _set_owners(
            resource,
            dependent,
            [r for r in dependent["metadata"]["ownerReferences"] if r["uid"] != uid],
        )
        for resource, dependent in dependents
    ]


def _set_owners(resource: Resource, item: Object, kept: list[Object]) -> Action:
    meta = item["metadata"]
    patch = {
        "metadata": {
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "ownerReferences": kept or None,
        }
    }
    return Patch(resource, meta["name"], meta.get("namespace"), patch)


def _drop_finalizer(resource: Resource, item: Object, name: str) -> Action:
    meta = item["metadata"]
    kept = [finalizer for finalizer in _finalizers(item) if finalizer != name]
    patch = {
        "metadata": {
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "finalizers": kept or None,
        }
    }
    return Patch(resource, meta["name"], meta.get("namespace"), patch)
