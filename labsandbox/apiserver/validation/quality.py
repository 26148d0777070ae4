"""The quality of service a pod gets from its requests and limits."""

from __future__ import annotations

from typing import Any

from labsandbox.quantity import parse

Json = dict[str, Any]


def quality_of_service(spec: Json) -> str:
    """BestEffort, Burstable or Guaranteed."""
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    guaranteed = True
    for ctr in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = ctr.get("resources") or {}
        limited = set()
        for name, amounts in (("requests", requests), ("limits", limits)):
            for kind, text in (resources.get(name) or {}).items():
                nano = parse(text).nano
                if kind in ("cpu", "memory") and nano > 0:
                    amounts[kind] = amounts.get(kind, 0) + nano
                    if name == "limits":
                        limited.add(kind)
        if limited != {"cpu", "memory"}:
            guaranteed = False
    if not requests and not limits:
        return "BestEffort"
    if guaranteed and requests == limits:
        return "Guaranteed"
    return "Burstable"
