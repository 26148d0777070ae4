"""Nodes. Their status goes through the same checks as the node itself."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import Raw, quote, strings
from labsandbox.apiserver.validation.meta import check_all
from labsandbox.apiserver.validation.resources import amount_of
from labsandbox.apiserver.validation.scheduling import EFFECTS

Json = dict[str, Any]
ONCE = 'except from "" to valid'


def node(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = _taints(spec) + _node_resources(obj)
    ranges = spec.get("podCIDRs") or []
    for index, text in enumerate(ranges):
        found += check_all(f"spec.podCIDRs[{index}]", text, names.cidr(text))
    kinds = {":" in text for text in ranges}
    if len(ranges) > 1 and (len(kinds) < 2 or len(ranges) > 2):
        detail = "may specify no more than one CIDR for each IP family"
        found.append(invalid("spec.podCIDRs", strings(ranges), detail))
    return found


def _taints(spec: Json) -> list[FieldError]:
    """A real server looks for taints below metadata, and says so."""
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path = f"metadata.taints[{index}]"
        key, value, effect = (taint.get(name, "") for name in ("key", "value", "effect"))
        found += check_all(f"{path}.key", key, names.qualified_name(key))
        problems = names.label_value(value)
        if problems:
            found.append(invalid(f"{path}.value", value, ";".join(problems)))
        if not effect:
            found.append(required(f"{path}.effect"))
        elif effect not in EFFECTS:
            found.append(not_supported(f"{path}.effect", effect, EFFECTS))
        if (key, effect) in seen:
            error = duplicate(path, _taint(taint))
            detail = "taints must be unique by key and effect pair"
            found.append(FieldError(error.type, error.field, error.bad_value, detail))
        seen.add((key, effect))
    return found


def _taint(taint: Json) -> Raw:
    key, value, effect = (quote(taint.get(name, "")) for name in ("key", "value", "effect"))
    return Raw(f"core.Taint{{Key:{key}, Value:{value}, Effect:{effect}, TimeAdded:<nil>}}")


def _node_resources(obj: Json) -> list[FieldError]:
    status = obj.get("status") or {}
    found: list[FieldError] = []
    for kind in ("capacity", "allocatable"):
        for name, text in (status.get(kind) or {}).items():
            found += amount_of(name, text, f"status.{kind}.{name}")
    return found


def node_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found = _node_resources(new) + _addresses(new)
    ours, theirs = spec.get("podCIDRs") or [], before.get("podCIDRs") or []
    detail = f"node updates may not change podCIDR {ONCE}"
    if theirs and len(ours) != len(theirs):
        found.append(forbidden("spec.podCIDRs", detail))
    elif theirs:
        changed = [one for one, other in zip(ours, theirs, strict=True) if one != other]
        found += [forbidden("spec.podCIDRs", detail) for _ in changed]
    if before.get("providerID") and spec.get("providerID") != before.get("providerID"):
        found.append(forbidden("spec.providerID", f"node updates may not change providerID {ONCE}"))
    found += _taints(spec)
    if spec.get("externalID", "") != before.get("externalID", ""):
        found.append(forbidden("spec.externalID", "may not be updated"))
    return found


def _addresses(new: Json) -> list[FieldError]:
    rows = [
        (row.get("type", ""), row.get("address", ""))
        for row in (new.get("status") or {}).get("addresses") or ()
    ]
    return [
        duplicate(
            f"status.addresses[{index}]",
            Raw(f"core.NodeAddress{{Type:{quote(row[0])}, Address:{quote(row[1])}}}"),
        )
        for index, row in enumerate(rows)
        if row in rows[:index]
    ]
