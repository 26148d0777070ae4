"""Field ownership between an object and its Scale: the replicas, and nothing else, are shared."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.patch import fieldset, managed
from labsandbox.apiserver.patch.managed import Managed, Manager, Owned

Json = dict[str, Any]
Path = tuple[str, ...]
GROUP_VERSION = "autoscaling/v1"
REPLICAS: Path = ("f:spec", "f:replicas")


def _trie(path: Path) -> fieldset.Trie:
    found: fieldset.Trie = {}
    fieldset.insert(found, path)
    return found


def _owners(obj: Json) -> Managed:
    return managed.read((obj.get("metadata") or {}).get("managedFields"))


def to_scale(obj: Json, path: Path) -> list[Json]:
    """The managers of the replicas, as managers of a Scale."""
    wanted = _trie(path)
    found: Managed = {}
    for manager, owned in _owners(obj).items():
        if not fieldset.intersection(owned.fields, wanted):
            continue
        version = GROUP_VERSION if manager.operation == "Update" else ""
        key = Manager(manager.name, manager.operation, version, manager.subresource)
        found[key] = Owned(_trie(REPLICAS), GROUP_VERSION, owned.time)
    return managed.write(found)


def to_parent(old: Json, scale: Json, path: Path, api_version: str) -> list[Json]:
    """The managers of the object once `scale` was applied to it."""
    wanted = _trie(path)
    found: Managed = {}
    for manager, owned in _owners(old).items():
        rest = fieldset.difference(owned.fields, wanted)
        if rest:
            found[manager] = Owned(rest, owned.api_version, owned.time)
    for manager, owned in _owners(scale).items():
        if not fieldset.intersection(owned.fields, _trie(REPLICAS)):
            continue
        version = api_version if manager.operation == "Update" else ""
        # A new owner came through the subresource; the others keep how they came.
        known = Manager(manager.name, manager.operation, version, manager.subresource)
        key = (
            known
            if known in _owners(old)
            else Manager(known.name, known.operation, version, "scale")
        )
        before = found.get(key)
        fields = fieldset.union(before.fields, wanted) if before is not None else wanted
        found[key] = Owned(fields, api_version, owned.time)
    return managed.write(found)
