"""Field ownership: server-side apply, and tracking who changed what on every other write.

The steps and their order are those of k8s.io/apimachinery's managedfields package. Objects are not
converted between versions to compare them (# differs: kinds here are stored in one version).
"""

from __future__ import annotations

import copy
from typing import Any

from labsandbox.apiserver.patch import fieldset, managed
from labsandbox.apiserver.patch.fieldset import Trie
from labsandbox.apiserver.patch.managed import Managed, Manager, Owned
from labsandbox.apiserver.patch.merging import merge, remove
from labsandbox.apiserver.patch.typed import TypedError, compare, field_set, validate
from labsandbox.apiserver.schema.decode import zero
from labsandbox.apiserver.schema.node import Node
from labsandbox.apiserver.status import StatusError, bad_request, server_error

Json = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE = "before-first-apply"
STRIPPED: Trie = {}
for _path in (
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", "f:" + name)
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    ),
):
    fieldset.insert(STRIPPED, _path)


def ignored_fields(subresource: str, has_status: bool) -> Trie:
    """The fields a write through this path resets, which nobody can own through it."""
    found: Trie = {}
    if subresource == "status":
        fieldset.insert(found, ("f:spec",))
    elif subresource == "" and has_status:
        fieldset.insert(found, ("f:status",))
    return found


def _without_managed(obj: Json) -> Json:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    found = dict(obj)
    found["metadata"] = {k: v for k, v in metadata.items() if k != "managedFields"}
    return found


def _entries(obj: Json | None) -> Any:
    metadata = (obj or {}).get("metadata")
    return metadata.get("managedFields") if isinstance(metadata, dict) else None


def track_update(
    old: Json | None,
    new: Json,
    manager: str,
    operation: str,
    api_version: str,
    now: str,
    node: Node,
    subresource: str = "",
    ignored: Trie | None = None,
) -> Json:
    """Return `new` with managedFields that give its changes since `old` to `manager`.

    Call it with the decoded and defaulted request, before admission and preparation change it:
    what those add is owned by nobody. When nothing but the times would change, the times of `old`
    are kept. `ignored` is `ignored_fields(…)`: what preparation is going to reset.
    """
    given = _entries(new)
    plain = _without_managed(new)
    if subresource:
        owners = managed.read(_entries(old))
    elif given is not None and (given == [] or given == [{}]):
        owners = {}
    else:
        owners = managed.read(given) or managed.read(_entries(old))
    if old is not None and not owners and (old.get("metadata") or {}).get("uid"):
        return _with_managed(plain, {})
    live: Json = _blank(node) if old is None else _without_managed(old)
    who = Manager(manager or "unknown", operation, api_version, subresource)
    owners = _update(live, plain, node, owners, who, api_version, now, ignored or {})
    found = _with_managed(plain, managed.cap(owners))
    return settle(old, found)


def settle(old: Json | None, new: Json) -> Json:
    """When only the times in managedFields differ from `old`, keep the old ones."""
    if old is None or _without_managed(old) != _without_managed(new):
        return new
    before, after = _entries(old), _entries(new)
    if not before or not after or len(before) != len(after):
        return new
    timeless = [
        [{k: v for k, v in row.items() if k != "time"} for row in rows] for rows in (before, after)
    ]
    if sorted(timeless[0], key=repr) == sorted(timeless[1], key=repr):
        found = dict(new)
        found["metadata"] = {**new["metadata"], "managedFields": copy.deepcopy(before)}
        return found
    return new


def _with_managed(obj: Json, owners: Managed) -> Json:
    found = dict(obj)
    metadata = dict(found.get("metadata") or {})
    metadata.pop("managedFields", None)
    if owners:
        metadata["managedFields"] = managed.write(owners)
    found["metadata"] = metadata
    return found


def _update(
    live: Json,
    new: Json,
    node: Node,
    owners: Managed,
    who: Manager,
    api_version: str,
    now: str,
    ignored: Trie,
) -> Managed:
    changes = compare(live, new, node)
    seen = changes.without(ignored) if ignored else changes
    touched = fieldset.union(seen.modified, seen.added)
    found: Managed = {}
    for manager, owned in owners.items():
        rest = fieldset.difference(owned.fields, touched)
        rest = fieldset.difference(rest, seen.removed)
        if rest:
            found[manager] = Owned(rest, owned.api_version, owned.time)
    mine = fieldset.union(changes.modified, changes.added)
    mine = fieldset.recursive_difference(mine, ignored) if ignored else mine
    mine = fieldset.difference(mine, STRIPPED)
    if mine:
        before = found.get(who)
        merged = fieldset.union(mine, before.fields) if before is not None else mine
        stamp = None if who.subresource == "scale" else now
        found[who] = Owned(merged, api_version, stamp)
    return found


def server_side_apply(
    live: Json | None,
    applied: Json,
    manager: str,
    force: bool,
    node: Node,
    api_version: str,
    now: str,
    subresource: str = "",
    ignored: Trie | None = None,
) -> Json:
    """Merge an applied configuration into `live` (None: create); raises the conflicts.

    The result still has to be decoded, defaulted, prepared and validated like any other write;
    afterwards `settle(live, result)` keeps the times when nothing changed.
    """
    given = applied.get("apiVersion")
    if given != api_version:
        raise bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {given}, expected: {api_version}"
        )
    if _entries(applied) is not None:
        raise bad_request("metadata.managedFields must be nil")
    problems = validate(applied, node)
    if problems:
        raise server_error(
            f"failed to create typed patch object ({name_applied(applied)}): {_several(problems)}"
        )
    old: Json = _without_managed(live) if live is not None else _blank(node)
    owners = managed.read(_entries(live))
    if live is not None and not owners:
        before = Manager(BEFORE, "Update", api_version, subresource)
        owners = _update(_blank(node), old, node, {}, before, api_version, now, {})
    who = Manager(manager, "Apply", "", subresource)
    try:
        new, owners, changed = _apply(
            old, applied, node, owners, who, api_version, force, ignored or {}, live is not None
        )
    except TypedError as error:
        raise server_error(f"failed to merge config: {error}") from error
    if who in owners:
        mine = fieldset.difference(owners[who].fields, STRIPPED)
        if mine:
            # An apply without effect has no time, unless this manager applied before.
            stamp = now if changed else owners[who].time
            owners[who] = Owned(mine, api_version, stamp)
        else:
            del owners[who]
    if manager == "kubectl" and live is not None:
        new = _refresh_last_applied(new, applied)
    return _with_managed(new, owners)


def _refresh_last_applied(new: Json, applied: Json) -> Json:
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return new
    import json

    text = json.dumps(applied, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    found = dict(new)
    found["metadata"] = {
        **new["metadata"],
        "annotations": {**annotations, LAST_APPLIED: text},
    }
    return found


def _blank(node: Node) -> Json:
    """The object before it exists: a Go struct has its inner structs from the start."""
    found: Json = zero(node) if node.definition else {}
    return found


def name_applied(obj: Json) -> str:
    """The applied object as messages show it: with a namespace only if the client gave one."""
    metadata = obj.get("metadata") or {}
    group_version = obj.get("apiVersion") or ""
    if "/" not in group_version:
        group_version = f"/{group_version}"
        shown = f"{group_version}, Kind={obj.get('kind')}"
    else:
        shown = f"{group_version}, Kind={obj.get('kind')}"
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {shown}"


def _several(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n".join(["errors:", *(f"  {problem}" for problem in problems)])


def _apply(
    live: Json,
    applied: Json,
    node: Node,
    owners: Managed,
    who: Manager,
    api_version: str,
    force: bool,
    ignored: Trie,
    exists: bool,
) -> tuple[Json, Managed, bool]:
    merged = merge(live, applied, node)
    last = owners.get(who)
    claimed = field_set(applied, node)
    if ignored:
        claimed = fieldset.recursive_difference(claimed, ignored)
    owners = dict(owners)
    owners[who] = Owned(claimed, api_version, last.time if last is not None else None)
    new = _prune(merged, node, owners, last)
    changes = compare(live, new, node)
    seen = changes.without(ignored) if ignored else changes
    touched = fieldset.union(seen.modified, seen.added)
    conflicts: dict[Manager, Trie] = {}
    for manager, owned in owners.items():
        if manager == who:
            continue
        both = fieldset.intersection(owned.fields, touched)
        if both:
            conflicts[manager] = both
    if conflicts and not force:
        allowed = _allowed(live, node, api_version) if who.name == "kubectl" else {}
        conflicts = {m: fieldset.difference(trie, allowed) for m, trie in conflicts.items()}
        conflicts = {m: trie for m, trie in conflicts.items() if trie}
        if conflicts:
            raise _conflict(conflicts)
    found: Managed = {}
    for manager, owned in owners.items():
        rest = owned.fields
        if manager != who:
            rest = fieldset.difference(fieldset.difference(rest, touched), seen.removed)
        if rest:
            found[manager] = Owned(rest, owned.api_version, owned.time)
    changed = not exists or live != new
    return new, found, changed


def _prune(merged: Json, node: Node, owners: Managed, last: Owned | None) -> Json:
    """Take out what this manager applied last time, does not now, and nobody else owns."""
    if last is None or not last.fields:
        return merged
    before = fieldset.with_named_members(last.fields, node)
    pruned = remove(merged, before, node) or {}
    everyone: Trie = {}
    for owned in owners.values():
        everyone = fieldset.union(everyone, owned.fields)
    whole = fieldset.with_named_members(field_set(merged, node), node)
    kept = fieldset.with_named_members(field_set(pruned, node), node)
    kept = fieldset.union(kept, fieldset.with_named_members(everyone, node))
    pruned = remove(merged, fieldset.difference(whole, kept), node) or {}
    kept = fieldset.with_named_members(field_set(pruned, node), node)
    gone = fieldset.intersection(fieldset.difference(whole, kept), before)
    found: Json = remove(merged, gone, node) or {}
    return found


def _allowed(live: Json, node: Node, api_version: str) -> Trie:
    """Fields kubectl may take over because its client-side apply wrote them last."""
    import json

    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return {}
    try:
        last = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(last, dict) or last.get("apiVersion") != api_version:
        return {}
    if validate(last, node, "", True):
        return {}
    changes = compare(last, live, node)
    found = field_set(last, node)
    for trie in (changes.modified, changes.added, changes.removed):
        found = fieldset.difference(found, trie)
    return found


def _conflict(conflicts: dict[Manager, Trie]) -> StatusError:
    rows = [(manager, path) for manager in conflicts for path in fieldset.paths(conflicts[manager])]
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {manager.text}",
            "field": fieldset.path_text(path),
        }
        for manager, path in rows
    ]
    if len(rows) == 1:
        text = f"1 conflict: conflict with {rows[0][0].text}: {fieldset.path_text(rows[0][1])}"
    else:
        lines: list[str] = []
        for manager in sorted(conflicts, key=lambda found: found.text):
            lines.append(f"conflicts with {manager.text}:")
            lines += [
                f"- {fieldset.path_text(path)}" for path in fieldset.paths(conflicts[manager])
            ]
        text = f"{len(rows)} conflicts: " + "\n".join(lines)
    return StatusError(409, "Conflict", f"Apply failed with {text}", {}, causes)
