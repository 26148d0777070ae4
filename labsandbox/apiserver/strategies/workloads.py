"""Pods and jobs."""

from __future__ import annotations

from typing import Any

from labsandbox import whole

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
    spec = obj.get("spec") or {}
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    gate_pod(obj)


_GATED = "Scheduling is blocked due to non-empty scheduling gates"


def gate_pod(obj: Json) -> None:
    """A pod with scheduling gates says so from the beginning."""
    if (obj.get("spec") or {}).get("schedulingGates"):
        obj["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": obj["metadata"].get("creationTimestamp"),
                "reason": "SchedulingGated",
                "message": _GATED,
            }
        ]


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
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    shared = (metadata.get("labels") or {}) == (template.get("labels") or {})
    labels = dict(template.get("labels") or {})
    for label in _UID_LABELS:
        labels.setdefault(label, metadata.get("uid", ""))
    for label in _NAME_LABELS:
        labels.setdefault(label, metadata.get("name", ""))
    if shared:
        metadata["labels"] = dict(labels)
    template["labels"] = labels
    selector = dict(spec.get("selector") or {})
    match = dict(selector.get("matchLabels") or {})
    match.setdefault(_UID_LABELS[0], metadata.get("uid", ""))
    spec["selector"] = {**selector, "matchLabels": match}


_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def create_daemon_set(obj: Json) -> None:
    """The template's own generation, which old clients read from an annotation."""
    metadata = obj["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), _TEMPLATE_GENERATION: "1"}


def update_daemon_set(new: Json, old: Json) -> None:
    known = (old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, "1")
    changed = (new.get("spec") or {}).get("template") != (old.get("spec") or {}).get("template")
    generation = str(whole.read(known) + 1) if changed else known
    metadata = new["metadata"]
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        _TEMPLATE_GENERATION: generation,
    }
