"""Compute a pod's status from its record: a pure function, as kubectl describe shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from labsandbox.node.records import RUNNING, TERMINATED, WAITING, Ending, PodRecord, Record
from labsandbox.node.records import container_id as make_container_id

Object = dict[str, Any]

_OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def when(moment: float) -> str:
    """Return a moment as the API writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compute(pod: Object, record: PodRecord, now: float) -> Object:
    """Return the status of a pod."""
    spec = pod["spec"]
    inits = [_find(record, c, "init") for c in spec.get("initContainers") or []]
    mains = [_find(record, c, "container") for c in spec["containers"]]
    phase = record.phase or _phase(spec, inits, mains)
    status: Object = {
        "phase": phase,
        "conditions": _conditions(pod, record, phase, inits, mains, when(now)),
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "startTime": when(record.started_at),
        "containerStatuses": [_container(record, c) for c in mains],
        "reason": record.reason,
        "message": record.message,
    }
    if record.address:
        status |= {"podIP": record.address, "podIPs": [{"ip": record.address}]}
    if inits:
        status["initContainerStatuses"] = [_container(record, c) for c in inits]
    return status


def _find(record: PodRecord, container: Object, kind: str) -> Record:
    found = record.containers.get(container["name"])
    return found or Record(container["name"], kind, image=container["image"])


def is_sidecar(container: Object) -> bool:
    """Say whether an init container stays running beside the main ones."""
    return container.get("restartPolicy") == "Always"


def _sidecars(spec: Object) -> set[str]:
    return {c["name"] for c in spec.get("initContainers") or [] if is_sidecar(c)}


def unfinished_inits(spec: Object, inits: list[Record]) -> list[str]:
    """Return the init containers that still keep the others from starting."""
    sidecars = _sidecars(spec)
    return [
        record.name
        for record in inits
        if (record.name in sidecars and not record.is_started)
        or (record.name not in sidecars and not (record.ending and record.ending.code == 0))
    ]


def _phase(spec: Object, inits: list[Record], mains: list[Record]) -> str:
    policy = spec.get("restartPolicy", "Always")
    ran = [c for c in mains if c.attempt >= 0]
    if unfinished_inits(spec, inits) and not ran:
        failed = [c for c in inits if c.ending and c.ending.code]
        return "Failed" if failed and policy == "Never" else "Pending"
    if any(c.state == WAITING and c.last is None for c in mains):
        return "Pending"
    if any(c.state == RUNNING for c in mains) or policy == "Always":
        return "Running"
    if all(c.ending is not None and c.ending.code == 0 for c in mains):
        return "Succeeded"
    if policy == "Never":
        return "Failed"
    return "Running"


def _conditions(
    pod: Object,
    record: PodRecord,
    phase: str,
    inits: list[Record],
    mains: list[Record],
    now: str,
) -> list[Object]:
    ended = phase in ("Succeeded", "Failed")
    missing = [] if phase == "Succeeded" else unfinished_inits(pod["spec"], inits)
    if any(c.attempt >= 0 for c in mains):
        missing = []
    sidecars = _sidecars(pod["spec"])
    unready = [c.name for c in [*inits, *mains] if not c.is_ready]
    unready = [name for name in unready if name in sidecars or name in {c.name for c in mains}]
    if phase == "Succeeded":
        ready: Object = {"status": "False", "reason": "PodCompleted"}
    elif ended:
        ready = {"status": "False", "reason": "PodFailed"}
    elif unready:
        ready = {
            "status": "False",
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{' '.join(unready)}]",
        }
    else:
        ready = {"status": "True"}
    initialized: Object = {"status": "True"}
    if phase == "Succeeded":
        initialized["reason"] = "PodCompleted"
    if missing:
        initialized = {
            "status": "False",
            "reason": "ContainersNotInitialized",
            "message": f"containers with incomplete status: [{' '.join(missing)}]",
        }
    gates = _gates(pod)
    pod_ready = dict(ready)
    if ready["status"] == "True" and gates:
        pod_ready = {
            "status": "False",
            "reason": "ReadinessGatesNotReady",
            "message": f"the status of pod readiness gate {gates[0]} is not True",
        }
    wanted: list[Object] = [
        {
            "type": "PodReadyToStartContainers",
            "status": "True" if record.address and not ended else "False",
        },
        {"type": "Initialized", **initialized},
        {"type": "Ready", **pod_ready},
        {"type": "ContainersReady", **ready},
        {"type": "PodScheduled", "status": "True"},
    ]
    previous = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or []}
    for condition in wanted:
        before = previous.get(condition["type"])
        is_same = before is not None and before["status"] == condition["status"]
        since = before.get("lastTransitionTime") if before and is_same else None
        condition |= {"lastProbeTime": None, "lastTransitionTime": since or now}
    foreign = [c for name, c in previous.items() if name not in _OWN]
    return wanted + foreign


def _gates(pod: Object) -> list[str]:
    conditions = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or []}
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    return [gate for gate in gates if conditions.get(gate) != "True"]


def _container(pod: PodRecord, record: Record) -> Object:
    status: Object = {
        "name": record.name,
        "state": _state(pod, record),
        "lastState": {"terminated": _ending(pod, record, record.last)} if record.last else {},
        "ready": record.is_ready or _is_done_init(record),
        "restartCount": record.restarts,
        "image": record.image,
        "imageID": f"labsandbox://{record.image}" if record.attempt >= 0 else "",
        "started": record.is_started,
    }
    if record.attempt >= 0:
        status["containerID"] = make_container_id(record.identifier(pod.uid))
    return status


def _is_done_init(record: Record) -> bool:
    return record.kind == "init" and record.ending is not None and record.ending.code == 0


def _state(pod: PodRecord, record: Record) -> Object:
    if record.state == RUNNING:
        return {"running": {"startedAt": when(record.started_at)}}
    if record.state == TERMINATED and record.ending:
        return {"terminated": _ending(pod, record, record.ending)}
    waiting = {"reason": record.reason}
    if record.message:
        waiting["message"] = record.message
    return {"waiting": waiting}


def _ending(pod: PodRecord, record: Record, ending: Ending) -> Object:
    found: Object = {
        "exitCode": ending.code,
        "reason": ending.reason,
        "startedAt": when(ending.started),
        "finishedAt": when(ending.finished),
        "containerID": make_container_id(record.identifier(pod.uid, ending.attempt)),
    }
    if ending.message:
        found["message"] = ending.message
    # differs: a container runtime reports 128 + signal and no signal; so do we.
    return found
