"""Namespaces, Nodes, Leases, PriorityClasses and other small kinds."""

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
from labsandbox.apiserver.validation.goprint import Raw, strings
from labsandbox.apiserver.validation.meta import (
    IMMUTABLE,
    check_all,
    core_finalizers,
    not_negative,
)
from labsandbox.apiserver.validation.pods.scheduling import EFFECTS
from labsandbox.apiserver.validation.resources import amount_of, one_of

Json = dict[str, Any]
HIGHEST = 1_000_000_000
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def namespace(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    for value in (obj.get("spec") or {}).get("finalizers") or ():
        found += check_all("spec.finalizers", value, names.qualified_name(value))
        found += [
            invalid("spec.finalizers", value, error.detail)
            for error in core_finalizers([value], "")
        ]
    return found


def namespace_status(new: Json, old: Json) -> list[FieldError]:
    phase = (new.get("status") or {}).get("phase", "")
    deleted = (new.get("metadata") or {}).get("deletionTimestamp") is not None
    if not deleted and phase != "Active":
        detail = "may only be 'Active' if `deletionTimestamp` is empty"
        return [invalid("status.Phase", phase, detail)]
    if deleted and phase != "Terminating":
        detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        return [invalid("status.Phase", phase, detail)]
    return []


def node(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path = f"spec.taints[{index}]"
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
            error = duplicate(path, _taint(key, value, effect))
            detail = "taints must be unique by key and effect pair"
            found.append(FieldError(error.type, error.field, error.bad_value, detail))
        seen.add((key, effect))
    found += _node_resources(obj)
    ranges = spec.get("podCIDRs") or []
    for index, text in enumerate(ranges):
        found += check_all(f"spec.podCIDRs[{index}]", text, names.cidr(text))
    kinds = {":" in text for text in ranges}
    if len(ranges) > 1 and (len(kinds) < 2 or len(ranges) > 2):
        detail = "may specify no more than one CIDR for each IP family"
        found.append(invalid("spec.podCIDRs", strings(ranges), detail))
    return found


def _taint(key: str, value: str, effect: str) -> Raw:
    inner = f'Key:"{key}", Value:"{value}", Effect:"{effect}", TimeAdded:<nil>'
    return Raw(f"core.Taint{{{inner}}}")


def _node_resources(obj: Json) -> list[FieldError]:
    status = obj.get("status") or {}
    found: list[FieldError] = []
    for kind in ("capacity", "allocatable"):
        for name, text in (status.get(kind) or {}).items():
            found += amount_of(name, text, f"status.{kind}.{name}")
    return found


def node_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found: list[FieldError] = []
    if before.get("podCIDRs") and spec.get("podCIDRs") != before.get("podCIDRs"):
        detail = 'node updates may not change podCIDR except from "" to valid'
        found.append(forbidden("spec.podCIDRs", detail))
    if before.get("providerID") and spec.get("providerID") != before.get("providerID"):
        detail = 'node updates may not change providerID except from "" to valid'
        found.append(forbidden("spec.providerID", detail))
    return found


def node_status(new: Json, old: Json) -> list[FieldError]:
    return _node_resources(new)


def lease(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        found.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        detail = "must be greater than or equal to 0"
        found.append(invalid("spec.leaseTransitions", transitions, detail))
    if spec.get("strategy") is not None:
        value = spec["strategy"]
        found += check_all("spec.strategy", value, names.qualified_name(value))
    return found


def priority_class(obj: Json) -> list[FieldError]:
    name, value = (obj.get("metadata") or {}).get("name", ""), obj.get("value", 0)
    found: list[FieldError] = []
    if name.startswith("system-"):
        if SYSTEM_CLASSES.get(name) != value or obj.get("globalDefault"):
            why = "is not a known system priority class"
            if name in SYSTEM_CLASSES:
                why = f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
            else:
                why = f"{name} {why}"
            detail = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {why}"
            )
            found.append(forbidden("metadata.name", detail))
    elif value > HIGHEST:
        detail = f"maximum allowed value of a user defined priority is {HIGHEST}"
        found.append(forbidden("value", detail))
    policy = obj.get("preemptionPolicy")
    if policy is not None:
        found += one_of("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))
    return found


def priority_class_update(new: Json, old: Json) -> list[FieldError]:
    found: list[FieldError] = []
    if new.get("value", 0) != old.get("value", 0):
        found.append(forbidden("value", "may not be changed in an update."))
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        found.append(invalid("preemptionPolicy", new.get("preemptionPolicy"), IMMUTABLE))
    return found


def revision(obj: Json) -> list[FieldError]:
    found = not_negative("revision", obj.get("revision", 0))
    return [required("data", "data is mandatory"), *found] if obj.get("data") is None else found


def revision_update(new: Json, old: Json) -> list[FieldError]:
    if new.get("data") == old.get("data"):
        return []
    return [invalid("data", new.get("data"), IMMUTABLE)]
