"""Simple JSON paths of CRDs: `.spec.replicas`."""

from __future__ import annotations

from typing import Any


def read_path(obj: Any, path: str) -> Any:
    """The value at a dotted path; None when it is not there."""
    for part in path.removeprefix(".").split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


def write_path(obj: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, making the objects on the way."""
    *above, last = path.removeprefix(".").split(".")
    for part in above:
        below = obj.get(part)
        if not isinstance(below, dict):
            below = obj[part] = {}
        obj = below
    obj[last] = value
