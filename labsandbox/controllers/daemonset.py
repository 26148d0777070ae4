"""DaemonSet: one pod on each node it fits."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox.client.resources import CONTROLLERREVISIONS, DAEMONSETS, PODS
from labsandbox.controllers import objects, rollout
from labsandbox.controllers.actions import Action, Create, Delete, Event, Patch, set_status
from labsandbox.controllers.replicaset import create_pod
from labsandbox.controllers.statefulset import (
    REVISION,
    copy_annotations,
    revision_data,
    revision_name,
)

Object = dict[str, Any]

_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect}
    for name, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
]


def reconcile(
    ds: Object, pods: list[Object], nodes: list[Object], revisions: list[Object], now: float
) -> list[Action]:
    """Return the pods to create or delete, and the status."""
    own = [pod for pod in pods if objects.owned_by(pod, ds)]
    if objects.is_deleted(ds):
        return []
    data = revision_data(ds["spec"]["template"])
    revision = revision_name(ds, data)
    actions = _revision(ds, revision, data, revisions)
    wanted = [node["metadata"]["name"] for node in nodes if _fits(ds, node)]
    by_node: dict[str, list[Object]] = {}
    for pod in own:
        by_node.setdefault(_node_of(pod), []).append(pod)
    for name in wanted:
        there = by_node.get(name, [])
        failed = [pod for pod in there if objects.phase(pod) in ("Failed", "Succeeded")]
        actions += [_delete(ds, pod) for pod in failed if not objects.is_deleted(pod)]
        if not there:
            actions.append(_create(ds, name, revision))
    for name, there in by_node.items():
        if name not in wanted:
            actions += [_delete(ds, pod) for pod in there if not objects.is_deleted(pod)]
    if not actions:
        actions = _roll(ds, own, revision, len(wanted), now)
    return [*actions, *set_status(DAEMONSETS, ds, _status(ds, own, wanted, revision, now))]


def _revision(ds: Object, name: str, data: Object, revisions: list[Object]) -> list[Action]:
    history = [r for r in revisions if objects.owned_by(r, ds)]
    newest = max((r["revision"] for r in history), default=0)
    for known in history:
        if known["metadata"]["name"] == name:
            if known["revision"] == newest:
                return []
            # An older template is back, as after `kubectl rollout undo`: it is the newest again.
            where = ds["metadata"]["namespace"]
            return [Patch(CONTROLLERREVISIONS, name, where, {"revision": newest + 1})]
    labels = (ds["spec"]["template"].get("metadata") or {}).get("labels") or {}
    revision = {
        "metadata": {
            "name": name,
            "namespace": ds["metadata"]["namespace"],
            "labels": {**labels, REVISION: name.rpartition("-")[2]},
            "ownerReferences": [objects.reference_to(ds, "apps/v1", "DaemonSet")],
        },
        "data": data,
        "revision": newest + 1,
    }
    copy_annotations(ds, revision)
    return [Create(CONTROLLERREVISIONS, revision, is_patient=True)]


def _fits(ds: Object, node: Object) -> bool:
    spec = ds["spec"]["template"]["spec"]
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(k) == v for k, v in (spec.get("nodeSelector") or {}).items())


def _node_of(pod: Object) -> str:
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for field in term.get("matchFields") or []:
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return ""


def _create(ds: Object, node: str, revision: str) -> Create:
    made = create_pod(copy.copy(ds), "apps/v1", "DaemonSet")
    made.obj["metadata"]["labels"] = {
        **(made.obj["metadata"].get("labels") or {}),
        REVISION: revision.rpartition("-")[2],
        "pod-template-generation": str(ds["metadata"].get("generation", 1)),
    }
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    spec = made.obj["spec"]
    spec["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}
    }
    spec["tolerations"] = [*(spec.get("tolerations") or []), *_TOLERATIONS]
    return made


def _delete(ds: Object, pod: Object) -> Delete:
    meta = pod["metadata"]
    event = Event(ds, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}")
    return Delete(PODS, meta["name"], meta["namespace"], meta["uid"], on_success=(event,))


def _is_updated(pod: Object, revision: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(labels.get(REVISION) == revision.rpartition("-")[2])


def _roll(ds: Object, own: list[Object], revision: str, total: int, now: float) -> list[Action]:
    strategy = ds["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    rolling = strategy.get("rollingUpdate") or {}
    most = max(1, rollout.share(rolling.get("maxUnavailable"), total, up=True, default="1"))
    away = sum(not objects.is_ready(pod) or objects.is_deleted(pod) for pod in own)
    old = [p for p in own if not _is_updated(p, revision) and not objects.is_deleted(p)]
    idle = [pod for pod in old if not objects.is_ready(pod)]
    busy = [pod for pod in old if objects.is_ready(pod)]
    return [_delete(ds, pod) for pod in [*idle, *busy[: max(0, most - away)]]]


def _status(ds: Object, own: list[Object], wanted: list[str], revision: str, now: float) -> Object:
    least = ds["spec"].get("minReadySeconds") or 0
    placed = {_node_of(pod): pod for pod in own if _node_of(pod) in wanted}
    ready = [pod for pod in placed.values() if objects.is_ready(pod)]
    available = sum(objects.is_available(pod, least, now) for pod in ready)
    return {
        "currentNumberScheduled": len(placed),
        "numberMisscheduled": sum(_node_of(pod) not in wanted for pod in own),
        "desiredNumberScheduled": len(wanted),
        "numberReady": len(ready),
        "observedGeneration": ds["metadata"].get("generation", 1),
        "updatedNumberScheduled": sum(_is_updated(p, revision) for p in placed.values()) or None,
        "numberAvailable": available or None,
        "numberUnavailable": (len(wanted) - available) or None,
    }
