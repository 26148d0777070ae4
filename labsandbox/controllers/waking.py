"""What makes a controller look at an object again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labsandbox.client import Resource
from labsandbox.controllers.engine import Key
from labsandbox.controllers.objects import owner_of

Object = dict[str, Any]
Wakes = Callable[[Resource, Object], list[Key]]


def key_of(obj: Object) -> Key:
    """Return an object's key."""
    return obj["metadata"].get("namespace"), obj["metadata"]["name"]


def itself(*followed: Resource) -> Wakes:
    """Wake for a change of the object itself."""
    names = {(r.group, r.plural) for r in followed}
    return lambda resource, obj: [key_of(obj)] if (resource.group, resource.plural) in names else []


def itself_and_owned(kind: Resource, *owned: Resource) -> Wakes:
    """Wake for a change of the object itself or of something it manages."""
    names = {(r.group, r.plural) for r in owned}

    def wakes(resource: Resource, obj: Object) -> list[Key]:
        if resource == kind:
            return [key_of(obj)]
        if (resource.group, resource.plural) in names:
            owner = owner_of(obj)
            if owner and owner["kind"] == kind.kind:
                return [(obj["metadata"]["namespace"], owner["name"])]
        return []

    return wakes
