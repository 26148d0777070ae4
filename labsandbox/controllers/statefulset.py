"""StatefulSet: pods with stable names and claims, one after the other or all at once."""

from __future__ import annotations

import copy
import json
from typing import Any

from labsandbox import whole
from labsandbox.client.resources import CONTROLLERREVISIONS, PODS, PVCS, STATEFULSETS
from labsandbox.controllers import objects
from labsandbox.controllers.actions import (
    Action,
    Again,
    Create,
    Delete,
    Event,
    Patch,
    set_status,
)

Object = dict[str, Any]

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
REVISION = "controller-revision-hash"


def revision_data(template: Object) -> Object:
    """Return what a ControllerRevision keeps: kubectl compares it byte by byte, so it is sorted."""
    data = {"spec": {"template": {**template, "$patch": "replace"}}}
    ordered: Object = json.loads(json.dumps(data, sort_keys=True))
    return ordered


def copy_annotations(owner: Object, revision: Object) -> None:
    """Give a new revision its owner's annotations: the cause of the change is one of them."""
    if owner["metadata"].get("annotations"):
        revision["metadata"]["annotations"] = dict(owner["metadata"]["annotations"])


def revision_name(owner: Object, data: Object) -> str:
    """Return the name of a revision: the same hash the original computes."""
    count = (owner.get("status") or {}).get("collisionCount") or 0
    value = objects.fnv1(objects.canonical(data) + str(count).encode())
    return f"{owner['metadata']['name']}-{objects.encode(value)}"


def ordinal(name: str, pod: str) -> int:
    """Return a pod's number, -1 when its name is none of the set's."""
    parent, _, number = pod.rpartition("-")
    return whole.read(number, -1) if parent == name else -1


def reconcile(
    sts: Object, pods: list[Object], claims: list[Object], revisions: list[Object], now: float
) -> list[Action]:
    """Return what brings a StatefulSet's pods closer to its spec."""
    if objects.is_deleted(sts):
        return []
    name = sts["metadata"]["name"]
    own = {
        ordinal(name, pod["metadata"]["name"]): pod for pod in pods if objects.owned_by(pod, sts)
    }
    own.pop(-1, None)
    history = [r for r in revisions if objects.owned_by(r, sts)]
    update, actions = _update_revision(sts, history)
    current = (sts.get("status") or {}).get("currentRevision") or update
    planned = _plan(sts, own, current, update, history, claims, now)
    status = _status(sts, own, current, update, now)
    return [*actions, *planned, *set_status(STATEFULSETS, sts, status), *_old(sts, own, history)]


def _update_revision(sts: Object, history: list[Object]) -> tuple[str, list[Action]]:
    """Return the revision of the template as it is now, and what records it."""
    data = revision_data(sts["spec"]["template"])
    name = revision_name(sts, data)
    newest = max((r["revision"] for r in history), default=0)
    for revision in history:
        if revision["metadata"]["name"] == name:
            if revision["revision"] == newest:
                return name, []
            patch = {"revision": newest + 1}
            where = sts["metadata"]["namespace"]
            return name, [Patch(CONTROLLERREVISIONS, name, where, patch)]
    labels = (sts["spec"]["template"].get("metadata") or {}).get("labels") or {}
    revision = {
        "metadata": {
            "name": name,
            "namespace": sts["metadata"]["namespace"],
            "labels": {**labels, "controller.kubernetes.io/hash": name.rpartition("-")[2]},
            "ownerReferences": [objects.reference_to(sts, "apps/v1", "StatefulSet")],
        },
        "data": data,
        "revision": newest + 1,
    }
    copy_annotations(sts, revision)
    return name, [Create(CONTROLLERREVISIONS, revision, is_patient=True)]


def _old(sts: Object, own: dict[int, Object], history: list[Object]) -> list[Action]:
    """Return the removal of revisions beyond the history's limit that no pod uses."""
    limit = sts["spec"].get("revisionHistoryLimit", 10)
    status = sts.get("status") or {}
    used = {_revision(pod) for pod in own.values()}
    used |= {status.get("currentRevision"), status.get("updateRevision")}
    idle = [r for r in history if r["metadata"]["name"] not in used]
    idle.sort(key=lambda r: int(r["revision"]))
    return [
        Delete(
            CONTROLLERREVISIONS,
            r["metadata"]["name"],
            r["metadata"]["namespace"],
            r["metadata"]["uid"],
        )
        for r in idle[: max(0, len(idle) - limit)]
    ]


def _revision(pod: Object) -> str | None:
    found: str | None = (pod["metadata"].get("labels") or {}).get(REVISION)
    return found


def _plan(
    sts: Object,
    own: dict[int, Object],
    current: str,
    update: str,
    history: list[Object],
    claims: list[Object],
    now: float,
) -> list[Action]:
    spec = sts["spec"]
    first = (spec.get("ordinals") or {}).get("start", 0)
    wanted = range(first, first + spec.get("replicas", 1))
    is_parallel = spec.get("podManagementPolicy") == "Parallel"
    least = spec.get("minReadySeconds") or 0
    actions: list[Action] = []
    held = {claim["metadata"]["name"] for claim in claims}
    for number in wanted:
        pod = own.get(number)
        if pod is None:
            revision = _revision_for(sts, number, current, update)
            actions += _create(sts, number, revision, history, held)
        elif objects.phase(pod) in ("Failed", "Succeeded") and not objects.is_deleted(pod):
            reason = "RecreatingFailedPod" if objects.phase(pod) == "Failed" else ""
            what = "failed" if objects.phase(pod) == "Failed" else "terminated"
            event = Event(
                sts,
                "Warning",
                reason or "RecreatingTerminatedPod",
                f"StatefulSet {sts['metadata']['namespace']}/{sts['metadata']['name']} is "
                f"recreating {what} Pod {pod['metadata']['name']}",
            )
            actions += [event, _delete(sts, pod)]
        elif objects.is_available(pod, least, now) and not objects.is_deleted(pod):
            continue
        elif least and objects.is_ready(pod):
            actions.append(Again(least))
        if not is_parallel:
            return actions  # In order: the next pod waits for this one.
    for number in sorted((n for n in own if n not in wanted), reverse=True):
        if not objects.is_deleted(own[number]):
            actions.append(_delete(sts, own[number]))
        if not is_parallel:
            return actions
    if not actions:
        actions = _roll(sts, own, update, wanted, least, now)
    return actions


def _revision_for(sts: Object, number: int, current: str, update: str) -> str:
    strategy = sts["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return update
    start = (sts["spec"].get("ordinals") or {}).get("start", 0)
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        kept = (sts.get("status") or {}).get("currentReplicas") or 0
    else:
        kept = rolling.get("partition") or 0
    return current if number < start + kept else update


def _roll(
    sts: Object, own: dict[int, Object], update: str, wanted: range, least: float, now: float
) -> list[Action]:
    """Return the deletion of the last pod that still has an old template."""
    strategy = sts["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    for number in reversed(wanted):
        pod = own.get(number)
        if pod is None or number < wanted.start + partition:
            continue
        if _revision(pod) != update:
            return [] if objects.is_deleted(pod) else [_delete(sts, pod)]
        if not objects.is_available(pod, least, now) or objects.is_deleted(pod):
            return []
    return []


def _delete(sts: Object, pod: Object) -> Action:
    meta = pod["metadata"]
    text = f"delete Pod {meta['name']} in StatefulSet {sts['metadata']['name']} successful"
    event = Event(sts, "Normal", "SuccessfulDelete", text)
    return Delete(PODS, meta["name"], meta["namespace"], meta["uid"], on_success=(event,))


def _template(sts: Object, revision: str, update_data: Object, history: list[Object]) -> Object:
    for entry in history:
        if entry["metadata"]["name"] == revision:
            template: Object = copy.deepcopy(entry["data"]["spec"]["template"])
            template.pop("$patch", None)
            return template
    return copy.deepcopy(update_data)


def claim_name(template: Object, sts: Object, number: int) -> str:
    """Return the name of a pod's claim."""
    return f"{template['metadata']['name']}-{sts['metadata']['name']}-{number}"


def _create(
    sts: Object, number: int, revision: str, history: list[Object], held: set[str]
) -> list[Action]:
    meta, spec = sts["metadata"], sts["spec"]
    name = f"{meta['name']}-{number}"
    template = _template(sts, revision, spec["template"], history)
    pod_meta = template.get("metadata") or {}
    pod_spec = template["spec"]
    pod_spec["hostname"] = name
    if spec.get("serviceName"):
        pod_spec["subdomain"] = spec["serviceName"]
    actions: list[Action] = []
    volumes = []
    for claim in spec.get("volumeClaimTemplates") or []:
        claim_of = claim_name(claim, sts, number)
        source = {"claimName": claim_of}
        volumes.append({"name": claim["metadata"]["name"], "persistentVolumeClaim": source})
        if claim_of not in held:
            actions.append(_create_claim(sts, claim, claim_of, name))
    taken = {volume["name"] for volume in volumes}
    kept = [v for v in pod_spec.get("volumes") or [] if v["name"] not in taken]
    if volumes or kept:
        pod_spec["volumes"] = [*volumes, *kept]
    labels = {
        **(pod_meta.get("labels") or {}),
        REVISION: revision,
        POD_NAME: name,
        POD_INDEX: str(number),
    }
    pod = {
        "metadata": {
            "name": name,
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": pod_meta.get("annotations"),
            "finalizers": pod_meta.get("finalizers"),
            "ownerReferences": [objects.reference_to(sts, "apps/v1", "StatefulSet")],
        },
        "spec": pod_spec,
    }
    pod["metadata"] = {key: value for key, value in pod["metadata"].items() if value}
    text = f"create Pod {name} in StatefulSet {meta['name']} successful"
    event = Event(sts, "Normal", "SuccessfulCreate", text)
    return [*actions, Create(PODS, pod, on_success=(event,))]


def _create_claim(sts: Object, template: Object, name: str, pod: str) -> Action:
    given = template["metadata"]
    labels = {
        **(given.get("labels") or {}),
        **((sts["spec"].get("selector") or {}).get("matchLabels") or {}),
    }
    claim = {
        "metadata": {
            "name": name,
            "namespace": sts["metadata"]["namespace"],
            "labels": labels,
            **({"annotations": given["annotations"]} if given.get("annotations") else {}),
        },
        "spec": template["spec"],
    }
    text = f"create Claim {name} Pod {pod} in StatefulSet {sts['metadata']['name']} success"
    event = Event(sts, "Normal", "SuccessfulCreate", text)
    return Create(PVCS, claim, on_success=(event,), is_patient=True)


def _status(sts: Object, own: dict[int, Object], current: str, update: str, now: float) -> Object:
    spec, before = sts["spec"], sts.get("status") or {}
    least = spec.get("minReadySeconds") or 0
    there = [pod for pod in own.values() if objects.phase(pod) not in ("Failed", "Succeeded")]
    created = [pod for pod in there if not objects.is_deleted(pod)]
    ready = [pod for pod in there if objects.is_ready(pod) and objects.phase(pod) == "Running"]
    status: Object = {
        "observedGeneration": sts["metadata"].get("generation", 1),
        "replicas": len(there),
        "readyReplicas": len(ready) or None,
        "currentReplicas": sum(_revision(pod) == current for pod in created) or None,
        "updatedReplicas": sum(_revision(pod) == update for pod in created) or None,
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": before.get("collisionCount") or 0,
        "availableReplicas": sum(objects.is_available(pod, least, now) for pod in ready),
        "conditions": before.get("conditions"),
    }
    is_rolling = (spec.get("updateStrategy") or {}).get("type") != "OnDelete"
    replicas = status["replicas"]
    if is_rolling and status["updatedReplicas"] == replicas == (status["readyReplicas"] or 0):
        status["currentReplicas"] = status["updatedReplicas"]
        status["currentRevision"] = update
    return status
