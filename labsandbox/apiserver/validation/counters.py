"""Counters in the status of workloads: none is negative, parts are not greater than the whole."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation.errors import FieldError, invalid
from labsandbox.apiserver.validation.meta import not_negative

Json = dict[str, Any]
SHORT = "cannot be greater than status.replicas"


def _not_above(status: Json, name: str, limit: str = "replicas") -> list[FieldError]:
    if status.get(name, 0) <= status.get(limit, 0):
        return []
    detail = SHORT if limit == "replicas" else f"cannot be greater than {limit}"
    return [invalid(f"status.{name}", status.get(name, 0), detail)]


def replicas_status(obj: Json) -> list[FieldError]:
    """Counters in the status of a ReplicaSet or ReplicationController."""
    status = obj.get("status") or {}
    found: list[FieldError] = []
    for name in (
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ):
        found += not_negative(f"status.{name}", status.get(name, 0))
    for name in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"):
        found += _not_above(status, name)
    return found + _not_above(status, "availableReplicas", "readyReplicas")


def deployment_status(new: Json, old: Json) -> list[FieldError]:
    status = new.get("status") or {}
    found: list[FieldError] = []
    for name in (
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ):
        found += not_negative(f"status.{name}", status.get(name, 0))
    for name in ("updatedReplicas", "readyReplicas", "availableReplicas"):
        found += _not_above(status, name)
    found += _not_above(status, "availableReplicas", "readyReplicas")
    return found + _collisions(new, old)


def stateful_set_status(new: Json, old: Json) -> list[FieldError]:
    status = new.get("status") or {}
    found: list[FieldError] = []
    for name in (
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "observedGeneration",
        "collisionCount",
    ):
        found += not_negative(f"status.{name}", status.get(name, 0))
    for name in ("readyReplicas", "currentReplicas", "updatedReplicas"):
        found += _not_above(status, name)
    return found + _collisions(new, old)


def daemon_set_status(new: Json, old: Json) -> list[FieldError]:
    status = new.get("status") or {}
    found: list[FieldError] = []
    for name in (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ):
        found += not_negative(f"status.{name}", status.get(name, 0))
    return found + _collisions(new, old)


def _collisions(new: Json, old: Json) -> list[FieldError]:
    count = (new.get("status") or {}).get("collisionCount")
    before = (old.get("status") or {}).get("collisionCount")
    if before is None or (count is not None and count >= before):
        return []
    return [invalid("status.collisionCount", count or 0, "cannot be decremented")]
