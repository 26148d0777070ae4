"""Pods and jobs."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def quality_of_service(spec: Json) -> str:
    """Guaranteed when all limits equal all requests, BestEffort without any, else Burstable."""
    wanted: list[tuple[Json, Json]] = []
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        resources = container.get("resources") or {}
        wanted.append((resources.get("requests") or {}, resources.get("limits") or {}))
    names = ("cpu", "memory")
    has_any = any(
        str(amounts.get(name, "0")) != "0" for pair in wanted for amounts in pair for name in names
    )
    if not has_any:
        return "BestEffort"
    for requests, limits in wanted:
        if any(name not in limits or limits[name] != requests.get(name) for name in names):
            return "Burstable"
    return "Guaranteed"


def create_pod(obj: Json) -> None:
    obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj.get("spec") or {})}


def update_pod(new: Json, old: Json) -> None:
    new["status"] = old.get("status", {})


_UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")


def create_job(obj: Json) -> None:
    """Give the job the selector and labels that tie its pods to it, unless it manages its own."""
    obj["status"] = {}
    spec = obj.get("spec")
    if not isinstance(spec, dict) or spec.get("manualSelector"):
        return
    metadata = obj["metadata"]
    uid = metadata.get("uid", "")
    template = spec.setdefault("template", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    name = metadata.get("name", "")
    for label in _UID_LABELS:
        labels.setdefault(label, uid)
    for label in _NAME_LABELS:
        labels.setdefault(label, name)
    if spec.get("selector") is None:
        spec["selector"] = {}
    match = spec["selector"].setdefault("matchLabels", {})
    match.setdefault(_UID_LABELS[0], uid)


def update_job(new: Json, old: Json) -> None:
    new["status"] = old.get("status", {})
