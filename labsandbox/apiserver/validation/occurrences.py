"""Events, of the core group and of events.k8s.io."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import FieldError, invalid, required
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.meta import IMMUTABLE, check_all

Json = dict[str, Any]
MISMATCH = "does not match event.namespace"
SAME = (
    ("involvedObject", "regarding"),
    ("reason", "reason"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("eventTime", "eventTime"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
    ("action", "action"),
    ("type", "type"),
)


def _get(obj: Json, core: str, new: str) -> Any:
    return obj[core] if core in obj else obj.get(new)


def legacy(obj: Json, is_core: bool) -> list[FieldError]:
    """What both groups ask."""
    found: list[FieldError] = []
    about = (_get(obj, "involvedObject", "regarding") or {}).get("namespace", "")
    namespace = (obj.get("metadata") or {}).get("namespace", "")
    path = "involvedObject.namespace"
    if not obj.get("eventTime"):
        if (not about and namespace not in ("", "default")) or (about and namespace != about):
            found.append(invalid(path, about, MISMATCH))
    else:
        if not about and namespace not in ("default", "kube-system"):
            found.append(invalid(path, about, MISMATCH))
        found += _new_style(obj, is_core)
    return found + check_all("namespace", namespace, names.subdomain(namespace))


def _new_style(obj: Json, is_core: bool) -> list[FieldError]:
    found: list[FieldError] = []
    field = "reportingComponent" if is_core else "reportingController"
    controller = obj.get("reportingComponent") or obj.get("reportingController") or ""
    if not controller:
        found.append(required(field))
    found += check_all(field, controller, names.qualified_name(controller))
    for name, limit in (("reportingInstance", 128), ("action", 128), ("reason", 128)):
        value = obj.get(name) or ""
        if not value:
            found.append(required(name))
        if len(value) > limit:
            found.append(invalid(name, "", f"can have at most {limit} characters"))
    if len(_get(obj, "message", "note") or "") > 1024:
        found.append(invalid("message", "", "can have at most 1024 characters"))
    return found


def event(obj: Json) -> list[FieldError]:
    """A new events.k8s.io Event, beside what `legacy` finds."""
    found = _series(obj)
    if not obj.get("eventTime"):
        found.append(required("eventTime"))
    kind = obj.get("type", "")
    if kind not in ("Normal", "Warning"):
        found.append(invalid("type", "", f"has invalid value: {kind}"))
    for core, new in (
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
        ("source", "deprecatedSource"),
    ):
        if _get(obj, core, new):
            found.append(invalid(core, "", "needs to be unset"))
    return found


def _series(obj: Json) -> list[FieldError]:
    series = obj.get("series")
    if series is None:
        return []
    found: list[FieldError] = []
    if series.get("count", 0) < 2:
        found.append(invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        found.append(required("series.lastObservedTime"))
    return found


def event_update(new: Json, old: Json) -> list[FieldError]:
    """Of an events.k8s.io Event only the series may change."""
    found = _series(new) if new.get("series") != old.get("series") else []
    for core, field in SAME:
        ours, theirs = _get(new, core, field), _get(old, core, field)
        if (ours or None) != (theirs or None):
            shown = ours if isinstance(ours, str | int) else Raw("{}")
            found.append(invalid(core, shown, IMMUTABLE))
    return found
