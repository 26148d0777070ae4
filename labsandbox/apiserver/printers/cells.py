"""Small pieces several kinds of row are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labsandbox.apiserver.printers.age import age

Json = dict[str, Any]
NONE = "<none>"
UNSET = "<unset>"
OPERATORS = {"In": "in", "NotIn": "notin"}


def at(obj: Any, *path: str) -> Any:
    """The value at a path, or None."""
    for part in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(part)
    return obj


def count(obj: Json, *path: str) -> int:
    """The number at a path; 0 when there is none."""
    value = at(obj, *path)
    return value if isinstance(value, int) else 0


def items(obj: Any, *path: str) -> list[Any]:
    """The list at a path; empty when there is none."""
    value = at(obj, *path)
    return value if isinstance(value, list) else []


def name(obj: Json) -> str:
    """The object's name."""
    return str(at(obj, "metadata", "name") or "")


def created(obj: Json) -> str:
    """The object's age."""
    return age(at(obj, "metadata", "creationTimestamp"))


def or_none(value: Any) -> str:
    """The text, or `<none>`."""
    return str(value) if value else NONE


def containers(spec: Any) -> list[Any]:
    """Names and images of a pod template's containers: the two wide columns."""
    found = items(spec, "containers")
    return [
        ",".join(str(one.get("name", "")) for one in found),
        ",".join(str(one.get("image", "")) for one in found),
    ]


def labels(pairs: Any) -> str:
    """A set of labels."""
    if not pairs:
        return NONE
    return ",".join(f"{key}={pairs[key]}" for key in sorted(pairs))


def selector(value: Any) -> str:
    """A label selector."""
    parts = [f"{key}={text}" for key, text in (at(value, "matchLabels") or {}).items()]
    parts += [_requirement(one) for one in items(value, "matchExpressions")]
    return ",".join(sorted(parts)) or NONE


def _requirement(one: Json) -> str:
    key, operator = str(one.get("key", "")), str(one.get("operator", ""))
    if operator == "Exists":
        return key
    if operator == "DoesNotExist":
        return f"!{key}"
    values = ",".join(sorted(one.get("values") or ()))
    return f"{key} {OPERATORS.get(operator, operator)} ({values})"


def joined(parts: Iterable[str], most: int) -> str:
    """Some of many: the first few and how many more."""
    found = list(parts)
    if len(found) <= most:
        return ",".join(found)
    return f"{','.join(found[:most])} + {len(found) - most} more..."


def quantity(value: Any) -> str:
    """A quantity as stored (the store keeps them canonical)."""
    return "" if value is None else str(value)
