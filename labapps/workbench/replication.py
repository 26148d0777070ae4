"""How many replicas a deployment has: a number, or two limits between which load decides."""

from __future__ import annotations

from typing import Any

from labapps.workbench.ask import Ask
from labapps.workbench.refusal import invalid

__all__ = ["MOST", "policy_of"]

FIXED, AUTOSCALE = "fixed", "autoscale"
MOST = 50
NUMBERS = {
    "num_replicas": (1, 1, MOST),
    "min_replicas": (1, 1, MOST),
    "max_replicas": (2, 1, MOST),
    "target_cpu_percent": (70, 1, 100),
    "scale_down_seconds": (60, 0, 3600),
}
"""Of each number of a policy: the default, the least and the most."""
KEYS = {
    FIXED: ("num_replicas",),
    AUTOSCALE: ("min_replicas", "max_replicas", "target_cpu_percent", "scale_down_seconds"),
}


def policy_of(ask: Ask, default: dict[str, Any]) -> dict[str, Any]:
    """Return the replication policy that a body asks for; another `replicas` is a fixed number."""
    asked = ask.body.get("replication_policy")
    if asked and (given := check(asked)) != default:
        return given
    unchanged = (None, "", least(default)) if asked else (None, "")
    if ask.body.get("replicas") not in unchanged:
        return {"type": FIXED, "num_replicas": int(ask.number("replicas", 1, 1, MOST))}
    return default


def check(policy: Any) -> dict[str, Any]:
    """Return a policy with its defaults.

    >>> check({"type": "fixed", "num_replicas": "2"})
    {'type': 'fixed', 'num_replicas': 2}
    """
    kind = policy.get("type", FIXED) if isinstance(policy, dict) else None
    if kind not in KEYS:
        raise invalid(
            'replication_policy must be {"type":"fixed","num_replicas":2} or {"type":"autoscale",'
            f'"min_replicas":1,"max_replicas":4,"target_cpu_percent":70}}; found {policy!r}.'
        )
    if unknown := sorted(set(policy) - {"type", *KEYS[kind]}):
        raise invalid(
            f"A replication_policy of the type {kind} has {', '.join(KEYS[kind])}; "
            f"found {', '.join(unknown)}."
        )
    where = Ask.of_body(policy)
    found = {name: int(where.number(name, *map(float, NUMBERS[name]))) for name in KEYS[kind]}
    if kind == AUTOSCALE and found["max_replicas"] < found["min_replicas"]:
        raise invalid(
            f"max_replicas must be at least min_replicas, which is {found['min_replicas']}; "
            f"found {found['max_replicas']}."
        )
    return {"type": kind, **found}


def least(policy: dict[str, Any]) -> int:
    """Return how many replicas there are at least."""
    return int(policy["num_replicas" if policy["type"] == FIXED else "min_replicas"])
