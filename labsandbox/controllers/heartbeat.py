"""Nodes whose agent is gone: they become NotReady, and get the taints that say so."""

from __future__ import annotations

from typing import Any

from labsandbox.client.resources import NODES
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Again, Event, Patch

Object = dict[str, Any]

GRACE_SECONDS = 40
_REASON, _MESSAGE = "NodeStatusUnknown", "Kubelet stopped posting node status."
_CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
_TAINT = "node.kubernetes.io/unreachable"
_TAINTS = (_TAINT, "node.kubernetes.io/not-ready")


def reconcile(node: Object, renewed: float, now: float) -> list[Action]:
    """Return what marks a node; `renewed` is when its agent was last heard of."""
    if objects.is_deleted(node):
        return []
    left = renewed + GRACE_SECONDS - now
    if left > 0:
        return [*_welcome(node), Again(left + 1)]
    ready = objects.condition(node, "Ready")
    if ready is not None and ready["status"] == "Unknown":
        return _taint(node, now)
    name = node["metadata"]["name"]
    known = (node.get("status") or {}).get("conditions") or []
    others = [c for c in known if c["type"] not in _CONDITIONS]
    status = {"conditions": [*others, *(_unknown(node, kind, now) for kind in _CONDITIONS)]}
    text = f"Node {name} status is now: NodeNotReady"
    event = Event(node, "Normal", "NodeNotReady", text)
    write = Patch(NODES, name, None, {"status": status}, "status", on_success=(event,))
    return [write, *_taint(node, now)]


def _unknown(node: Object, kind: str, now: float) -> Object:
    before = objects.condition(node, kind) or {}
    stamp = objects.when(now)
    return {
        "type": kind,
        "status": "Unknown",
        "lastHeartbeatTime": before.get("lastHeartbeatTime", stamp),
        "lastTransitionTime": stamp,
        "reason": _REASON,
        "message": _MESSAGE,
    }


def _taints(node: Object) -> list[Object]:
    found: list[Object] = (node.get("spec") or {}).get("taints") or []
    return found


def _taint(node: Object, now: float) -> list[Action]:
    if any(taint["key"] == _TAINT for taint in _taints(node)):
        return []
    # differs: pods of a node that is away are not evicted: there is no other node to run them.
    taint = {"key": _TAINT, "effect": "NoSchedule", "timeAdded": objects.when(now)}
    return [_write(node, [*_taints(node), taint])]


def _welcome(node: Object) -> list[Action]:
    """Return the removal of the taints from a node that is back."""
    ready = objects.condition(node, "Ready")
    if ready is None or ready["status"] != "True":
        return []
    kept = [taint for taint in _taints(node) if taint["key"] not in _TAINTS]
    return [] if len(kept) == len(_taints(node)) else [_write(node, kept)]


def _write(node: Object, taints: list[Object]) -> Patch:
    meta = node["metadata"]
    patch = {
        "metadata": {"resourceVersion": meta["resourceVersion"]},
        "spec": {"taints": taints or None},
    }
    return Patch(NODES, meta["name"], None, patch)
