"""JSON merge patch (RFC 7386)."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.status import bad_request


def apply_merge_patch(obj: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return `obj` with `patch` merged in; null takes a key out.

    Maps the patch touches come out sorted: messages that show the result show it that way.
    """
    if not isinstance(patch, dict):
        kinds = {list: "array", str: "string", bool: "bool", type(None): "null"}
        kind = kinds.get(type(patch), "number")
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type "
            "map[string]interface {}"
        )
    found: dict[str, Any] = _merge(obj, patch)
    return found


def _merge(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            found[key] = _merge(found.get(key), value)
        else:
            found[key] = value
    return dict(sorted(found.items()))
