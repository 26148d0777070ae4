"""Deployment: ReplicaSets of one template after the other, old ones kept to go back to."""

from __future__ import annotations

import copy
from typing import Any

from labsandbox import whole
from labsandbox.client.resources import DEPLOYMENTS, REPLICASETS
from labsandbox.controllers import objects, podhash, rollout
from labsandbox.controllers.actions import Action, Again, Create, Delete, Event, Patch, set_status

Object = dict[str, Any]

HASH = "pod-template-hash"
_PREFIX = "deployment.kubernetes.io/"
REVISION, HISTORY = _PREFIX + "revision", _PREFIX + "revision-history"
DESIRED, MOST = _PREFIX + "desired-replicas", _PREFIX + "max-replicas"
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
}


def reconcile(
    deployment: Object, sets: list[Object], pods: list[Object], now: float
) -> list[Action]:
    """Return the next step of a deployment."""
    if objects.is_deleted(deployment):
        return set_status(DEPLOYMENTS, deployment, _status(deployment, [], None, now))
    own = [rs for rs in sets if objects.owned_by(rs, deployment) and not objects.is_deleted(rs)]
    new = find_new(deployment, own)
    old = [rs for rs in own if rs is not new]
    if deployment["spec"].get("paused"):
        scaled = _scale_active(deployment, own)
        return [*scaled, *set_status(DEPLOYMENTS, deployment, _status(deployment, own, new, now))]
    revision = max((_revision(rs) for rs in old), default=0) + 1
    actions: list[Action] = []
    if new is None:
        return _start_new(deployment, own, old, pods, revision, now)
    if _revision(new) < revision or _stale_notes(deployment, new):
        actions.append(_annotate(deployment, new, max(revision, _revision(new))))
    current = str(max(revision, _revision(new)))
    if (deployment["metadata"].get("annotations") or {}).get(REVISION) != current:
        meta = deployment["metadata"]
        patch = {"metadata": {"annotations": {REVISION: current}}}
        # Everything else waits for the answer: the status below is written against it.
        return [*actions, Patch(DEPLOYMENTS, meta["name"], meta["namespace"], patch)]
    actions += _scale(deployment, new, old, pods)
    status = _status(deployment, own, new, now)
    actions += set_status(DEPLOYMENTS, deployment, status)
    if _is_complete(deployment, status):
        actions += _clean_up(deployment, old)
    elif deployment["spec"].get("progressDeadlineSeconds"):
        actions.append(Again(deployment["spec"]["progressDeadlineSeconds"] + 1))
    return actions


def _bare(template: Object) -> Object:
    meta = dict(template.get("metadata") or {})
    meta["labels"] = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH}
    meta.pop("creationTimestamp", None)
    return {"metadata": {k: v for k, v in meta.items() if v}, "spec": template["spec"]}


def find_new(deployment: Object, own: list[Object]) -> Object | None:
    """Return the ReplicaSet that has the deployment's template, the oldest if several."""
    wanted = _bare(deployment["spec"]["template"])
    same = [rs for rs in own if _bare(rs["spec"]["template"]) == wanted]
    same.sort(key=lambda rs: str(rs["metadata"].get("creationTimestamp")))
    return same[0] if same else None


def _revision(rs: Object) -> int:
    text = (rs["metadata"].get("annotations") or {}).get(REVISION, "0")
    return whole.read(text)


def _notes(deployment: Object) -> dict[str, str]:
    notes = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in notes.items() if key not in _NOT_COPIED}


def _size_notes(deployment: Object) -> dict[str, str]:
    total = deployment["spec"].get("replicas", 1)
    surge, _ = rollout.allowances(deployment)
    return {DESIRED: str(total), MOST: str(total + surge)}


def _stale_notes(deployment: Object, rs: Object) -> bool:
    notes = rs["metadata"].get("annotations") or {}
    wanted = {**_notes(deployment), **_size_notes(deployment)}
    return any(notes.get(key) != value for key, value in wanted.items())


def _annotate(deployment: Object, rs: Object, revision: int) -> Action:
    notes = rs["metadata"].get("annotations") or {}
    changed = {**_notes(deployment), **_size_notes(deployment), REVISION: str(revision)}
    if notes.get(REVISION) and notes[REVISION] != str(revision):
        past = [*(notes.get(HISTORY) or "").split(","), notes[REVISION]]
        changed[HISTORY] = ",".join(part for part in past if part)
    meta = rs["metadata"]
    return Patch(
        REPLICASETS, meta["name"], meta["namespace"], {"metadata": {"annotations": changed}}
    )


def _start_new(
    deployment: Object,
    own: list[Object],
    old: list[Object],
    pods: list[Object],
    revision: int,
    now: float,
) -> list[Action]:
    """Create the ReplicaSet of a new template, as large as it may be at once."""
    meta, spec = deployment["metadata"], deployment["spec"]
    is_recreated = (spec.get("strategy") or {}).get("type") == "Recreate"
    if is_recreated and (actions := _empty_old(deployment, old, pods)):
        return [
            *actions,
            *set_status(DEPLOYMENTS, deployment, _status(deployment, own, None, now)),
        ]
    template = copy.deepcopy(spec["template"])
    collisions = (deployment.get("status") or {}).get("collisionCount")
    value = podhash.of(template, collisions)
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = value
    name = f"{meta['name']}-{value}"
    rs: Object = {
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {
                **_notes(deployment),
                **_size_notes(deployment),
                REVISION: str(revision),
            },
            "ownerReferences": [objects.reference_to(deployment, "apps/v1", "Deployment")],
        },
        "spec": {
            "replicas": 0,
            "selector": copy.deepcopy(spec["selector"]),
            "template": template,
        },
    }
    if spec.get("minReadySeconds"):
        rs["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    rs["spec"]["selector"].setdefault("matchLabels", {})[HASH] = value
    rs["spec"]["replicas"] = rollout.grow_new(deployment, rs, [*old, rs])
    events = (_scaled(deployment, name, 0, rs["spec"]["replicas"]),)
    created = _condition(
        "Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "{name}"', now
    )
    conditions = _set((deployment.get("status") or {}).get("conditions") or [], created)
    patch = {
        "metadata": {"annotations": {REVISION: str(revision)}},
        "status": {"conditions": conditions},
    }
    return [
        Create(REPLICASETS, rs, events if rs["spec"]["replicas"] else (), is_patient=True),
        # Annotations may be written with the status, and the original does.
        Patch(DEPLOYMENTS, meta["name"], meta["namespace"], patch, "status"),
    ]


def _scaled(deployment: Object, name: str, before: int, after: int) -> Event:
    way = "up" if after > before else "down"
    text = f"Scaled {way} replica set {name} from {before} to {after}"
    return Event(deployment, "Normal", "ScalingReplicaSet", text)


def _resize(deployment: Object, rs: Object, size: int) -> list[Action]:
    before = rollout.replicas(rs)
    if before == size:
        return []
    meta = rs["metadata"]
    patch = {"spec": {"replicas": size}, "metadata": {"annotations": _size_notes(deployment)}}
    event = _scaled(deployment, meta["name"], before, size)
    return [Patch(REPLICASETS, meta["name"], meta["namespace"], patch, on_success=(event,))]


def _scale_active(deployment: Object, own: list[Object]) -> list[Action]:
    """Return the change of size of a paused deployment: its only active set follows."""
    active = [rs for rs in own if rollout.replicas(rs)]
    if len(active) != 1:
        return []
    return _resize(deployment, active[0], deployment["spec"].get("replicas", 1))


def _empty_old(deployment: Object, old: list[Object], pods: list[Object]) -> list[Action]:
    actions: list[Action] = []
    for rs in old:
        actions += _resize(deployment, rs, 0)
    uids = {rs["metadata"]["uid"] for rs in old}
    if any(
        (owner := objects.owner_of(pod)) and owner["uid"] in uids
        for pod in pods
        if objects.phase(pod) not in ("Succeeded", "Failed")
    ):
        actions.append(Again(1))
    return actions


def _scale(deployment: Object, new: Object, old: list[Object], pods: list[Object]) -> list[Action]:
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        waiting = _empty_old(deployment, old, pods)
        return waiting or _resize(deployment, new, deployment["spec"].get("replicas", 1))
    size = rollout.grow_new(deployment, new, [*old, new])
    if rollout.replicas(new) > deployment["spec"].get("replicas", 1):
        size = deployment["spec"].get("replicas", 1)
    grown = _resize(deployment, new, size)
    if grown:
        return grown
    actions: list[Action] = []
    if any(rollout.replicas(rs) for rs in old):
        kept = rollout.shrink_old(deployment, new, old)
        for rs in old:
            if rs["metadata"]["name"] in kept:
                actions += _resize(deployment, rs, kept[rs["metadata"]["name"]])
    return actions


def _clean_up(deployment: Object, old: list[Object]) -> list[Action]:
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    idle = [rs for rs in old if not rollout.replicas(rs) and not rollout.count([rs], "replicas")]
    idle.sort(key=_revision)
    surplus = idle[: max(0, len(idle) - limit)]
    return [
        Delete(REPLICASETS, meta["name"], meta["namespace"], meta["uid"])
        for meta in (rs["metadata"] for rs in surplus)
    ]


def _condition(kind: str, status: str, reason: str, message: str, now: float) -> Object:
    stamp = objects.when(now)
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }


def _set(conditions: list[Object], wanted: Object, refresh: bool = False) -> list[Object]:
    before = next((c for c in conditions if c["type"] == wanted["type"]), None)
    if (
        before
        and not refresh
        and (before["status"], before["reason"])
        == (
            wanted["status"],
            wanted["reason"],
        )
    ):
        return conditions
    if before and before["status"] == wanted["status"]:
        wanted = {**wanted, "lastTransitionTime": before["lastTransitionTime"]}
    return [*(c for c in conditions if c["type"] != wanted["type"]), wanted]


def _is_complete(deployment: Object, status: Object) -> bool:
    total = deployment["spec"].get("replicas", 1)
    updated, every = status["updatedReplicas"] or 0, status["replicas"] or 0
    return bool(updated == total == every and (status["availableReplicas"] or 0) == total)


def _status(deployment: Object, own: list[Object], new: Object | None, now: float) -> Object:
    before = deployment.get("status") or {}
    total = deployment["spec"].get("replicas", 1)
    every, available = rollout.count(own, "replicas"), rollout.count(own, "availableReplicas")
    status: Object = {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": every or None,
        "updatedReplicas": rollout.count([new] if new else [], "replicas") or None,
        "readyReplicas": rollout.count(own, "readyReplicas") or None,
        "availableReplicas": available or None,
        "unavailableReplicas": max(0, sum(map(rollout.replicas, own)) - available) or None,
        "collisionCount": before.get("collisionCount"),
    }
    conditions = list(before.get("conditions") or [])
    _, unavailable = rollout.allowances(deployment)
    if available >= total - unavailable:
        text = "Deployment has minimum availability."
        good = _condition("Available", "True", "MinimumReplicasAvailable", text, now)
    else:
        text = "Deployment does not have minimum availability."
        good = _condition("Available", "False", "MinimumReplicasUnavailable", text, now)
    conditions = _set(conditions, good)
    if new is not None and deployment["spec"].get("progressDeadlineSeconds"):
        conditions = _progress(deployment, conditions, status, before, new, now)
    status["conditions"] = conditions
    return status


def _progress(
    deployment: Object,
    conditions: list[Object],
    status: Object,
    before: Object,
    new: Object,
    now: float,
) -> list[Object]:
    name = new["metadata"]["name"]
    current = next((c for c in conditions if c["type"] == "Progressing"), None)
    every, updated = status["replicas"] or 0, status["updatedReplicas"] or 0
    if current and current["reason"] == "NewReplicaSetAvailable" and every == updated:
        return conditions
    if deployment["spec"].get("paused"):
        return conditions
    if _is_complete(deployment, status):
        text = f'ReplicaSet "{name}" has successfully progressed.'
        return _set(
            conditions, _condition("Progressing", "True", "NewReplicaSetAvailable", text, now)
        )
    was_every, was_updated = before.get("replicas") or 0, before.get("updatedReplicas") or 0
    has_moved = (
        updated > was_updated
        or every - updated < was_every - was_updated
        or (status["readyReplicas"] or 0) > (before.get("readyReplicas") or 0)
        or (status["availableReplicas"] or 0) > (before.get("availableReplicas") or 0)
    )
    if has_moved or current is None:
        text = f'ReplicaSet "{name}" is progressing.'
        wanted = _condition("Progressing", "True", "ReplicaSetUpdated", text, now)
        return _set(conditions, wanted, refresh=True)
    seconds = deployment["spec"]["progressDeadlineSeconds"]
    if now - objects.moment(current["lastUpdateTime"]) > seconds:
        text = f'ReplicaSet "{name}" has timed out progressing.'
        wanted = _condition("Progressing", "False", "ProgressDeadlineExceeded", text, now)
        return _set(conditions, wanted)
    return conditions
