"""Namespaces, Leases, PriorityClasses and other small kinds."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    forbidden,
    invalid,
    required,
)
from labsandbox.apiserver.validation.meta import (
    IMMUTABLE,
    check_all,
    core_finalizers,
    not_negative,
)
from labsandbox.apiserver.validation.resources import one_of

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
