"""Pods nobody looks after any more: their node is gone, or they ended and are too many."""

from __future__ import annotations

from typing import Any

from labsandbox.client.resources import PODS
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Again, Delete

Object = dict[str, Any]

_QUARANTINE_SECONDS = 40
_MOST_ENDED = 500


def reconcile(
    pods: list[Object], nodes: set[str], missing_since: dict[str, float], now: float
) -> list[Action]:
    """Return the pods to remove; `missing_since` says when each absent node was first missed."""
    actions: list[Action] = []
    for pod in pods:
        name = pod["spec"].get("nodeName")
        if not name or name in nodes:
            continue
        left = missing_since.get(name, now) + _QUARANTINE_SECONDS - now
        actions.append(Again(left) if left > 0 else _force(pod))
    ended = [p for p in pods if objects.phase(p) in ("Succeeded", "Failed")]
    ended = [p for p in ended if not objects.is_deleted(p)]
    ended.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    # differs: a real cluster keeps 12,500; a laptop's learner has no use for that many.
    surplus = ended[: max(0, len(ended) - _MOST_ENDED)]
    return [*actions, *map(_force, surplus)]


def _force(pod: Object) -> Action:
    meta = pod["metadata"]
    return Delete(PODS, meta["name"], meta["namespace"], meta["uid"], grace=0)
