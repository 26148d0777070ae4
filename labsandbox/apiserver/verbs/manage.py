"""managedFields: who wrote which field, kept up to date on every write."""

from __future__ import annotations

import json
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


_REPEATED = (
    ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in "
    "1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate "
    "UID(s) observed: {}"
)


def drop_repeated_owners(obj: Json, warnings: list[str], after: str = "") -> None:
    """Keep each owner once, in place; `after` says what brought them in, if not the client."""
    metadata = obj.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(owners, list) or len(owners) < 2:
        return
    kept: list[Any] = []
    repeated: list[str] = []
    seen: set[str] = set()
    for owner in owners:
        # By its text: comparing each with all before it takes 10 s for 20,000 of them.
        mark = json.dumps(owner, sort_keys=True)
        if mark in seen:
            repeated.append(str(owner.get("uid", "")))
        else:
            seen.add(mark)
            kept.append(owner)
    if repeated:
        obj["metadata"] = {**obj["metadata"], "ownerReferences": kept}
        warnings.append(_REPEATED.format(after, ", ".join(repeated)))


def ignored(resource: ResourceDef, subresource: str) -> Any:
    """Fields a write through this path cannot own, because it resets them."""
    has_status = "status" in resource.subresources
    return ignored_fields(subresource, has_status)
