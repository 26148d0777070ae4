"""Objects that several API groups or versions share, told in each one's words.

Events are stored as core/v1 and autoscalers as autoscaling/v2; the other spelling is made when it
is read and undone when it is written.
"""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.registry.resource import ResourceDef
from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.definitions import definition, kinds
from labsandbox.apiserver.schema.node import Field, Node

Json = dict[str, Any]

_DEFAULT_SHARE = 80
_AS_JSON = ("apiextensions.k8s.io", "apiregistration.k8s.io")
_EVENT_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}


def converted(resource: ResourceDef, stored: Json) -> Json:
    """A stored object in the version of `resource`."""
    out: Json = {"kind": resource.kind, "apiVersion": resource.api_version}
    if resource.plural == "events":
        out.update({_EVENT_NAMES.get(key, key): value for key, value in stored.items()})
        for field in ("reportingController", "reportingInstance"):
            if not out.get(field):
                out.pop(field, None)
        return out
    out.update(stored)
    if resource.plural == "horizontalpodautoscalers":
        _to_autoscaling_v1(out)
    return out


def to_storage(resource: ResourceDef, obj: Json) -> Json:
    """The reverse: an object as a client wrote it, as it is stored."""
    if resource.custom is None and resource.group not in _AS_JSON:
        obj = _without_empty(resource, obj)
    if resource.storage is None:
        return obj
    group, version, kind = resource.storage
    out = {**obj, "kind": kind, "apiVersion": f"{group}/{version}" if group else version}
    if resource.plural == "events":
        back = {new: old for old, new in _EVENT_NAMES.items()}
        out = {back.get(key, key): value for key, value in out.items()}
        out.setdefault("involvedObject", {})
        out.setdefault("source", {})
        out.setdefault("firstTimestamp", None)
        out.setdefault("lastTimestamp", None)
        out.setdefault("reportingComponent", "")
        out.setdefault("reportingInstance", "")
        return out
    if resource.plural == "horizontalpodautoscalers":
        _from_autoscaling_v1(out)
    return out


def _without_empty(resource: ResourceDef, obj: Json) -> Json:
    """Stored as protobuf, an empty list or map is none at all; it comes back as null."""
    name = kinds().get((resource.group, resource.version, resource.kind))
    return _emptied(obj, definition(name)) if name is not None else obj


def _emptied(value: Any, node: Node) -> Any:
    if isinstance(value, dict) and node.kind == types.STRUCT:
        found = {key: _member(item, node.fields.get(key)) for key, item in value.items()}
        return found if any(found[key] is not value[key] for key in value) else value
    if isinstance(value, list | dict) and node.element is not None and value:
        if node.element.kind not in (types.STRUCT, types.LIST, types.MAP):
            return value
        if isinstance(value, list):
            return [_emptied(item, node.element) for item in value]
        return {key: _emptied(item, node.element) for key, item in value.items()}
    return value


def _member(value: Any, field: Field | None) -> Any:
    if field is None or not isinstance(value, list | dict):
        return value
    if not value and field.always and field.node.kind in (types.LIST, types.MAP):
        return None
    return _emptied(value, field.node)


def _to_autoscaling_v1(obj: Json) -> None:
    spec = dict(obj.get("spec") or {})
    obj["spec"] = spec
    kept = []
    for metric in spec.pop("metrics", None) or []:
        target = (metric.get("resource") or {}).get("target") or {}
        is_cpu = metric.get("type") == "Resource" and metric["resource"].get("name") == "cpu"
        if is_cpu and target.get("averageUtilization") is not None:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            kept.append(metric)
    spec.pop("behavior", None)
    status = dict(obj.get("status") or {})
    for metric in status.pop("currentMetrics", None) or []:
        current = (metric.get("resource") or {}).get("current") or {}
        if current.get("averageUtilization") is not None:
            status["currentCPUUtilizationPercentage"] = current["averageUtilization"]
    status.pop("conditions", None)
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    obj["status"] = status


def _from_autoscaling_v1(obj: Json) -> None:
    spec = dict(obj.get("spec") or {})
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    if percentage is None and not spec.get("metrics"):
        percentage = _DEFAULT_SHARE
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    obj["spec"] = spec
    status = dict(obj.get("status") or {})
    status.pop("currentCPUUtilizationPercentage", None)
    obj["status"] = status
