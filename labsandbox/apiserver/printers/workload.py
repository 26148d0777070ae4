"""Rows for the kinds that make pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from labsandbox.apiserver.printers.age import age, read_moment, span
from labsandbox.apiserver.printers.cells import (
    NONE,
    UNSET,
    Json,
    at,
    containers,
    count,
    created,
    items,
    labels,
    name,
    or_none,
    selector,
)


def _template(obj: Json) -> list[Any]:
    return containers(at(obj, "spec", "template", "spec"))


def deployment_row(obj: Json) -> list[Any]:
    """The cells of a Deployment."""
    return [
        name(obj),
        f"{count(obj, 'status', 'readyReplicas')}/{count(obj, 'spec', 'replicas')}",
        count(obj, "status", "updatedReplicas"),
        count(obj, "status", "availableReplicas"),
        created(obj),
        *_template(obj),
        selector(at(obj, "spec", "selector")),
    ]


def replica_set_row(obj: Json) -> list[Any]:
    """The cells of a ReplicaSet."""
    return [*_replicas(obj), selector(at(obj, "spec", "selector"))]


def replication_controller_row(obj: Json) -> list[Any]:
    """The cells of a ReplicationController."""
    return [*_replicas(obj), labels(at(obj, "spec", "selector"))]


def _replicas(obj: Json) -> list[Any]:
    return [
        name(obj),
        count(obj, "spec", "replicas"),
        count(obj, "status", "replicas"),
        count(obj, "status", "readyReplicas"),
        created(obj),
        *_template(obj),
    ]


def stateful_set_row(obj: Json) -> list[Any]:
    """The cells of a StatefulSet."""
    ready = f"{count(obj, 'status', 'readyReplicas')}/{count(obj, 'spec', 'replicas')}"
    return [name(obj), ready, created(obj), *_template(obj)]


def daemon_set_row(obj: Json) -> list[Any]:
    """The cells of a DaemonSet."""
    return [
        name(obj),
        count(obj, "status", "desiredNumberScheduled"),
        count(obj, "status", "currentNumberScheduled"),
        count(obj, "status", "numberReady"),
        count(obj, "status", "updatedNumberScheduled"),
        count(obj, "status", "numberAvailable"),
        labels(at(obj, "spec", "template", "spec", "nodeSelector")),
        created(obj),
        *_template(obj),
        selector(at(obj, "spec", "selector")),
    ]


def job_row(obj: Json) -> list[Any]:
    """The cells of a Job."""
    succeeded = count(obj, "status", "succeeded")
    wanted, parallel = at(obj, "spec", "completions"), count(obj, "spec", "parallelism")
    if wanted is not None:
        completions = f"{succeeded}/{wanted}"
    else:
        completions = f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"
    return [
        name(obj),
        _job_status(obj),
        completions,
        _job_duration(obj),
        created(obj),
        *_template(obj),
        selector(at(obj, "spec", "selector")),
    ]


def _job_status(obj: Json) -> str:
    true = {
        one.get("type") for one in items(obj, "status", "conditions") if one.get("status") == "True"
    }
    if ended := next((word for word in ("Complete", "Failed") if word in true), None):
        return ended
    if at(obj, "metadata", "deletionTimestamp"):
        return "Terminating"
    words = ("Suspended", "FailureTarget", "SuccessCriteriaMet")
    return next((word for word in words if word in true), "Running")


def _job_duration(obj: Json) -> str:
    started = read_moment(at(obj, "status", "startTime"))
    if started is None:
        return ""
    ended = read_moment(at(obj, "status", "completionTime")) or datetime.now(UTC)
    return span((ended - started).total_seconds())


def cron_job_row(obj: Json) -> list[Any]:
    """The cells of a CronJob."""
    suspend = at(obj, "spec", "suspend")
    last = at(obj, "status", "lastScheduleTime")
    return [
        name(obj),
        at(obj, "spec", "schedule") or "",
        or_none(at(obj, "spec", "timeZone")),
        UNSET if suspend is None else str(suspend),
        len(items(obj, "status", "active")),
        age(last) if last else NONE,
        created(obj),
        *containers(at(obj, "spec", "jobTemplate", "spec", "template", "spec")),
        selector(at(obj, "spec", "jobTemplate", "spec", "selector")),
    ]


def controller_revision_row(obj: Json) -> list[Any]:
    """The cells of a ControllerRevision."""
    owner = next(
        (one for one in items(obj, "metadata", "ownerReferences") if one.get("controller")), None
    )
    controller = NONE
    if owner is not None:
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        kind = str(owner.get("kind", "")).lower()
        controller = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner['name']}"
    return [name(obj), controller, count(obj, "revision"), created(obj)]


def pod_template_row(obj: Json) -> list[Any]:
    """The cells of a PodTemplate."""
    template = at(obj, "template")
    pairs = labels(at(template, "metadata", "labels"))
    return [name(obj), *containers(at(template, "spec")), pairs]


def disruption_budget_row(obj: Json) -> list[Any]:
    """The cells of a PodDisruptionBudget."""
    least, most = at(obj, "spec", "minAvailable"), at(obj, "spec", "maxUnavailable")
    return [
        name(obj),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        count(obj, "status", "disruptionsAllowed"),
        created(obj),
    ]


def autoscaler_row(obj: Json) -> list[Any]:
    """The cells of a HorizontalPodAutoscaler of either version."""
    target = at(obj, "spec", "scaleTargetRef") or {}
    least = at(obj, "spec", "minReplicas")
    return [
        name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(obj),
        UNSET if least is None else str(least),
        count(obj, "spec", "maxReplicas"),
        count(obj, "status", "currentReplicas"),
        created(obj),
    ]


def _metrics(obj: Json) -> str:
    percentage = at(obj, "spec", "targetCPUUtilizationPercentage")
    if percentage is not None:
        current = at(obj, "status", "currentCPUUtilizationPercentage")
        shown = "<unknown>" if current is None else f"{current}%"
        return f"cpu: {shown}/{percentage}%"
    parts = []
    for one in items(obj, "spec", "metrics"):
        if one.get("type") != "Resource":
            continue
        target = at(one, "resource", "target") or {}
        wanted = target.get("averageValue")
        if wanted is None:
            wanted = f"{target.get('averageUtilization', 0)}%"
        parts.append(f"{at(one, 'resource', 'name')}: <unknown>/{wanted}")
    return ", ".join(parts) or NONE
