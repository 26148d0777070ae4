"""PodDisruptionBudget: how many of the chosen pods may be evicted now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from labsandbox.client.resources import PDBS
from labsandbox.controllers import objects, rollout
from labsandbox.controllers.actions import Action, Again, Event, set_status

Object = dict[str, Any]
# What scales the pods of an owner reference: its uid and replicas; None when nothing does.
Scale = Callable[[Object], tuple[str, int] | None]

_EVICTION_SECONDS = 120


class NoScaleError(Exception):
    """A pod's controller does not say how many pods there are to be."""


def reconcile(pdb: Object, pods: list[Object], scale: Scale, now: float) -> list[Action]:
    """Return the status of a budget; `pods` are those of its namespace."""
    if objects.is_deleted(pdb):
        return []
    selector = pdb["spec"].get("selector")
    chosen = [p for p in pods if objects.matches(selector, p["metadata"].get("labels"))]
    chosen = [p for p in chosen if objects.phase(p) not in ("Succeeded", "Failed")]
    actions: list[Action] = []
    if not chosen:
        actions.append(Event(pdb, "Normal", "NoPods", "No matching pods found"))
    evicted, again = _evicted(pdb, chosen, now)
    healthy = sum(
        objects.is_ready(pod)
        for pod in chosen
        if pod["metadata"]["name"] not in evicted and not objects.is_deleted(pod)
    )
    try:
        expected, desired = _expect(pdb["spec"], chosen, scale)
    except NoScaleError as error:
        text = f"Failed to calculate the number of expected pods: {error}"
        actions.append(Event(pdb, "Warning", "CalculateExpectedPodCountFailed", text))
        before = pdb.get("status") or {}
        status = {**before, "disruptionsAllowed": 0}
        status["conditions"] = [_condition(pdb, False, "SyncFailed", str(error), now)]
        return [*actions, *set_status(PDBS, pdb, status)]
    allowed = max(0, healthy - desired) if expected > 0 else 0
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "disruptedPods": evicted or None,
        "observedGeneration": pdb["metadata"].get("generation", 1),
        "conditions": [_condition(pdb, allowed > 0, reason, "", now)],
    }
    actions += set_status(PDBS, pdb, status)
    if again is not None:
        actions.append(Again(again))
    return actions


def _evicted(pdb: Object, chosen: list[Object], now: float) -> tuple[dict[str, str], float | None]:
    """Return the evicted pods that are still to be deleted, and when to look again."""
    there = {pod["metadata"]["name"] for pod in chosen if not objects.is_deleted(pod)}
    kept, again = {}, None
    for name, since in ((pdb.get("status") or {}).get("disruptedPods") or {}).items():
        left = objects.moment(since) + _EVICTION_SECONDS - now
        if name in there and left > 0:
            kept[name] = since
            again = left if again is None else min(again, left)
    return kept, again


def _expect(spec: Object, chosen: list[Object], scale: Scale) -> tuple[int, int]:
    """Return how many pods there are to be, and how many of them healthy."""
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most is not None:
        expected = _expected(chosen, scale)
        return expected, max(0, expected - rollout.share(most, expected, up=True))
    if isinstance(least, str):
        expected = _expected(chosen, scale)
        return expected, rollout.share(least, expected, up=True)
    return len(chosen), least or 0


def _expected(chosen: list[Object], scale: Scale) -> int:
    """Return the sum of the replicas of the pods' controllers; pods without one do not count."""
    owners = {owner["uid"]: owner for pod in chosen if (owner := objects.owner_of(pod))}
    sizes: dict[str, int] = {}
    for owner in owners.values():
        found = scale(owner)
        if found is None:
            raise NoScaleError(
                f"{owner['kind']} {owner['name']} does not implement the scale subresource"
            )
        sizes[found[0]] = found[1]
    return sum(sizes.values())


def _condition(pdb: Object, is_allowed: bool, reason: str, message: str, now: float) -> Object:
    status = "True" if is_allowed else "False"
    before = objects.condition(pdb, "DisruptionAllowed")
    is_same = before is not None and before["status"] == status
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": pdb["metadata"].get("generation", 1),
        "lastTransitionTime": before["lastTransitionTime"] if before and is_same else stamp,
        "reason": reason,
        "message": message,
    }
