"""managedFields: who wrote which field, kept up to date on every write."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.kinds import shape_of
from labsandbox.apiserver.patch import ignored_fields, track_update
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.verbs.objects import now

Json = dict[str, Any]


def track(
    resource: ResourceDef, old: Json | None, new: Json, manager: str, subresource: str = ""
) -> Json:
    """Note that `manager` made `new` out of `old`; nothing changes when nothing did."""
    node = shape_of(resource).node
    if node is None:
        return new
    return track_update(
        old, new, manager, "Update", resource.api_version, now(), node, subresource,
        ignored(resource, subresource),
    )  # fmt: skip


def ignored(resource: ResourceDef, subresource: str) -> Any:
    """Fields a write through this path cannot own, because it resets them."""
    has_status = "status" in resource.subresources
    return ignored_fields(subresource, has_status, resource.custom is not None)
