"""The short hash of a pod template that names ReplicaSets and labels their pods."""

from __future__ import annotations

from typing import Any

from labsandbox.controllers import objects

Object = dict[str, Any]


def of(template: Object, collisions: int | None) -> str:
    """Return the hash of a template; another one for each collision there has been."""
    # differs: the original hashes a dump of Go's memory; this one hashes the JSON, so the names of
    # ReplicaSets differ from those of a real cluster, and only the names.
    data = objects.canonical(template)
    if collisions is not None:
        data += str(collisions).encode()
    return objects.encode(objects.fnv1a(data))
