"""managedFields: who wrote which field, kept up to date on every write."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.verbs.objects import now

Json = dict[str, Any]


def track(
    resource: ResourceDef, old: Json | None, new: Json, manager: str, subresource: str = ""
) -> Json:
    """Note that `manager` made `new` out of `old`; nothing changes when nothing did."""
    try:
        from labsandbox.apiserver.patch import track_update
    except ImportError:
        return new
    node = shape_of(resource).node
    found: Json = track_update(
        old, new, manager, "Update", resource.api_version, now(), node, subresource
    )
    return found
