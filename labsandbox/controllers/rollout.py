"""The arithmetic of a rolling update: how many pods of which template there may be."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

Object = dict[str, Any]


def share(value: int | str | None, total: int, up: bool, default: str = "25%") -> int:
    """Return an absolute number for an amount given as number or percentage."""
    value = default if value is None else value
    if isinstance(value, str) and value.endswith("%"):
        exact = int(value[:-1]) * total / 100
        return ceil(exact) if up else floor(exact)
    return int(value)


def allowances(deployment: Object) -> tuple[int, int]:
    """Return (maxSurge, maxUnavailable); at least one of them lets the update proceed."""
    spec = deployment["spec"]
    total = spec.get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge"), total, up=True)
    unavailable = share(rolling.get("maxUnavailable"), total, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, total)


def replicas(rs: Object) -> int:
    """Return how many pods a ReplicaSet is to have."""
    number: int = rs["spec"].get("replicas", 1)
    return number


def count(sets: list[Object], field: str) -> int:
    """Return the sum of a status field over ReplicaSets."""
    return sum((rs.get("status") or {}).get(field) or 0 for rs in sets)


def grow_new(deployment: Object, new: Object, everything: list[Object]) -> int:
    """Return how many pods the new ReplicaSet may have now."""
    total = deployment["spec"].get("replicas", 1)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return int(total)
    surge, _ = allowances(deployment)
    room = total + surge - sum(replicas(rs) for rs in everything)
    if room <= 0:
        return replicas(new)
    return int(min(total, replicas(new) + room))


def shrink_old(deployment: Object, new: Object, old: list[Object]) -> dict[str, int]:
    """Return how many pods each old ReplicaSet may keep, by name, where that is fewer."""
    total = deployment["spec"].get("replicas", 1)
    _, unavailable = allowances(deployment)
    least = total - unavailable
    everything = [*old, new]
    not_yet = replicas(new) - ((new.get("status") or {}).get("availableReplicas") or 0)
    most = sum(replicas(rs) for rs in everything) - least - not_yet
    if most <= 0:
        return {}
    kept: dict[str, int] = {}
    # First those that do no good: old pods that are not available.
    for rs in _by_age(old):
        available = (rs.get("status") or {}).get("availableReplicas") or 0
        useless = min(most, replicas(rs) - available)
        if replicas(rs) and useless > 0:
            kept[rs["metadata"]["name"]] = replicas(rs) - useless
            most -= useless
    removable = count(everything, "availableReplicas") - least
    for rs in _by_age(old):
        name = rs["metadata"]["name"]
        has = kept.get(name, replicas(rs))
        fewer = min(has, removable)
        if has and fewer > 0:
            kept[name] = has - fewer
            removable -= fewer
    return kept


def _by_age(sets: list[Object]) -> list[Object]:
    return sorted(sets, key=lambda rs: str(rs["metadata"].get("creationTimestamp")))
