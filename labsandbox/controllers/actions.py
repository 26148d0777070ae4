"""What a controller wants done: plain data, so that deciding and doing stay apart.

Every controller here is a function from what is observed to a list of these; `engine.py` does them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labsandbox.client import Resource

Object = dict[str, Any]


@dataclass(frozen=True)
class Create:
    """Create an object; with `is_patient`, one that exists already is as good."""

    resource: Resource
    obj: Object
    on_success: tuple[Event, ...] = ()
    is_patient: bool = False


@dataclass(frozen=True)
class Replace:
    """Write an object back as it is given, failing if somebody else has changed it meanwhile."""

    resource: Resource
    obj: Object
    subresource: str | None = None


@dataclass(frozen=True)
class Patch:
    """Merge a patch into an object."""

    resource: Resource
    name: str
    namespace: str | None
    patch: Any
    subresource: str | None = None
    on_success: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Delete:
    """Delete an object if it is still the one with this uid."""

    resource: Resource
    name: str
    namespace: str | None
    uid: str
    propagation: str | None = None
    grace: int | None = None
    on_success: tuple[Event, ...] = ()


@dataclass(frozen=True)
class DeleteAll:
    """Delete a whole collection of a namespace."""

    resource: Resource
    namespace: str


@dataclass(frozen=True)
class Finalize:
    """Let a namespace go."""

    obj: Object


@dataclass(frozen=True)
class Event:
    """Tell what happened to an object."""

    obj: Object = field(hash=False)
    kind: str
    reason: str
    message: str


@dataclass(frozen=True)
class Again:
    """Look at the same object again after some seconds."""

    seconds: float


Action = Create | Replace | Patch | Delete | DeleteAll | Finalize | Event | Again


def set_status(resource: Resource, obj: Object, status: Object) -> list[Action]:
    """Return the write of a status, or nothing when it is as it should be."""
    current = obj.get("status") or {}
    if _comparable(current) == _comparable(status):
        return []
    changed = {key: value for key, value in status.items() if value is not None}
    return [Replace(resource, {**obj, "status": changed}, "status")]


def _comparable(status: Object) -> Object:
    return {key: value for key, value in status.items() if value is not None}
