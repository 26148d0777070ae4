"""ReplicaSet, and the older ReplicationController: keep a number of equal pods."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox.client import Resource
from labsandbox.client.resources import PODS, REPLICASETS, REPLICATIONCONTROLLERS
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Again, Create, Delete, Event, Patch, set_status

Object = dict[str, Any]


def reconcile(
    rs: Object, pods: list[Object], now: float, kind: Resource = REPLICASETS
) -> list[Action]:
    """Return the pods to create, delete, adopt or release, and the status."""
    selector = selector_of(rs, kind)
    own = [pod for pod in pods if objects.owned_by(pod, rs)]
    released = [pod for pod in own if not objects.matches(selector, pod["metadata"].get("labels"))]
    adopted = [] if objects.is_deleted(rs) else [p for p in pods if _is_orphan(p, selector)]
    actions: list[Action] = [_release(pod, rs) for pod in released]
    actions += [_adopt(pod, rs, kind) for pod in adopted]
    own = [pod for pod in own if pod not in released] + adopted
    active = [pod for pod in own if objects.is_active(pod)]
    if not objects.is_deleted(rs):
        missing = rs["spec"].get("replicas", 1) - len(active)
        actions += [create_pod(rs, kind.api_version, kind.kind) for _ in range(missing)]
        if missing < 0:
            actions += [_delete(rs, pod) for pod in least_wanted(active)[:-missing]]
    least = rs["spec"].get("minReadySeconds") or 0
    if least and any(objects.is_ready(pod) for pod in active):
        actions.append(Again(least))
    return [*actions, *set_status(kind, rs, _status(rs, active, least, now))]


def selector_of(rs: Object, kind: Resource = REPLICASETS) -> Object:
    """Return the label selector; that of a ReplicationController is a plain map."""
    selector: Object = rs["spec"].get("selector") or {}
    return {"matchLabels": selector} if kind == REPLICATIONCONTROLLERS else selector


def _is_orphan(pod: Object, selector: Object) -> bool:
    """Say whether a pod belongs here and to no other controller."""
    if not any(selector.values()) or objects.owner_of(pod) is not None:
        return False
    return objects.is_active(pod) and objects.matches(selector, pod["metadata"].get("labels"))


def _adopt(pod: Object, rs: Object, kind: Resource) -> Patch:
    reference = objects.reference_to(rs, kind.api_version, kind.kind)
    return _own(pod, [*(pod["metadata"].get("ownerReferences") or []), reference])


def _release(pod: Object, rs: Object) -> Patch:
    uid = rs["metadata"]["uid"]
    references = pod["metadata"]["ownerReferences"]
    return _own(pod, [reference for reference in references if reference["uid"] != uid])


def _own(pod: Object, references: list[Object]) -> Patch:
    meta = pod["metadata"]
    # The version makes sure that nobody else has adopted or released it meanwhile.
    patch = {
        "uid": meta["uid"],
        "resourceVersion": meta["resourceVersion"],
        "ownerReferences": references or None,
    }
    return Patch(PODS, meta["name"], meta["namespace"], {"metadata": patch})


def create_pod(owner: Object, api_version: str, kind: str) -> Create:
    """Return the creation of a pod from the owner's template."""
    template = copy.deepcopy(owner["spec"]["template"])
    meta = template.get("metadata") or {}
    pod = {
        "metadata": {
            "generateName": owner["metadata"]["name"] + "-",
            "namespace": owner["metadata"]["namespace"],
            "labels": meta.get("labels"),
            "annotations": meta.get("annotations"),
            "finalizers": meta.get("finalizers"),
            "ownerReferences": [objects.reference_to(owner, api_version, kind)],
        },
        "spec": template["spec"],
    }
    pod["metadata"] = {key: value for key, value in pod["metadata"].items() if value}
    event = Event(owner, "Normal", "SuccessfulCreate", "Created pod: {name}")
    return Create(PODS, pod, on_success=(event,))


def _delete(rs: Object, pod: Object) -> Delete:
    meta = pod["metadata"]
    event = Event(rs, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}")
    return Delete(PODS, meta["name"], meta["namespace"], meta["uid"], on_success=(event,))


def least_wanted(pods: list[Object]) -> list[Object]:
    """Return pods in the order in which they may go."""

    def rank(pod: Object) -> tuple[Any, ...]:
        status = pod.get("status") or {}
        notes = pod["metadata"].get("annotations") or {}
        cost = int(notes.get("controller.kubernetes.io/pod-deletion-cost", "0"))
        restarts = sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or [])
        ready = objects.condition(pod, "Ready") or {}
        return (
            bool(pod["spec"].get("nodeName")),
            {"Pending": 0, "Unknown": 1, "Running": 2}.get(objects.phase(pod), 0),
            objects.is_ready(pod),
            cost,
            -objects.moment(ready.get("lastTransitionTime")) if objects.is_ready(pod) else 0,
            -restarts,
            -objects.moment(pod["metadata"].get("creationTimestamp")),
        )

    return sorted(pods, key=rank)


def _status(rs: Object, active: list[Object], least: float, now: float) -> Object:
    labels = (rs["spec"]["template"].get("metadata") or {}).get("labels") or {}
    ready = [pod for pod in active if objects.is_ready(pod)]
    return {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(
            labels.items() <= (pod["metadata"].get("labels") or {}).items() for pod in active
        )
        or None,
        "readyReplicas": len(ready) or None,
        "availableReplicas": sum(objects.is_available(pod, least, now) for pod in ready) or None,
        "observedGeneration": rs["metadata"].get("generation", 1),
        "conditions": (rs.get("status") or {}).get("conditions"),
    }
