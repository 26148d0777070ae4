"""JSON Patch (RFC 6902) with the habits of the Go library the API server uses.

`replace` on a missing map key adds it, `copy` of one adds null, negative indices count from the
end, and every failure is the same 422: the server does not say which operation it was.

Work is bounded as there: at most 10,000 operations, which copy at most as many bytes as a request
may have. # differs: inserting into and removing from long lists counts as work, too.
"""

from __future__ import annotations

import copy
from typing import Any

import orjson

from labsandbox.apiserver.status import StatusError, bad_request

MAX_OPERATIONS = 10000
MAX_COPIED = 3 * 1024 * 1024
"""Bytes all `copy` operations of one patch may add."""
MAX_SHIFTED = 50_000_000
"""Items of lists all operations of one patch may move by one place."""
MISSING = object()


class _Refused(Exception):
    """An operation cannot be carried out."""


class _Work:
    """What the operations of one patch have copied and shifted so far."""

    def __init__(self) -> None:
        self._copied = self._shifted = 0

    def copied(self, value: Any) -> Any:
        """A copy of `value`; refused when the patch has copied too much."""
        self._copied += len(orjson.dumps(value))
        if self._copied > MAX_COPIED:
            raise _Refused
        return copy.deepcopy(value)

    def shift(self, items: list[Any]) -> None:
        """Count a change in the middle of a list; refused when the patch has moved too much."""
        self._shifted += len(items)
        if self._shifted > MAX_SHIFTED:
            raise _Refused


def refused() -> StatusError:
    message = "the server rejected our request due to an error in our request"
    return StatusError(422, "Invalid", message, {})


def apply_json_patch(obj: Any, operations: Any) -> Any:
    """Return `obj` with the operations carried out, or raise what the server answers."""
    if not isinstance(operations, list):
        kind = {dict: "object", str: "string", bool: "bool"}.get(type(operations), "number")
        if operations is None:
            return obj
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type "
            "[]handlers.jsonPatchOp"
        )
    if len(operations) > MAX_OPERATIONS:
        raise StatusError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, "
            f"got {len(operations)}",
        )
    for row in operations:
        if not isinstance(row, dict):
            kind = {str: "string", bool: "bool", list: "array"}.get(type(row), "number")
            raise bad_request(
                f"error decoding patch: json: cannot unmarshal {kind} into Go value of type "
                "handlers.jsonPatchOp"
            )
    found, work = copy.deepcopy(obj), _Work()
    try:
        for row in operations:
            found = _one(found, row, work)
    except _Refused as error:
        raise refused() from error
    return found


def _one(obj: Any, row: dict[str, Any], work: _Work) -> Any:
    operation, path = row.get("op"), row.get("path")
    if not isinstance(path, str):
        raise _Refused
    if operation == "add":
        return _add(obj, _parts(path), copy.deepcopy(row.get("value")), work)
    if operation == "remove":
        _take(obj, _parts(path), work)
        return obj
    if operation == "replace":
        return _replace(obj, _parts(path), copy.deepcopy(row.get("value")))
    if operation == "test":
        found = _find(obj, _parts(path))
        wanted = row.get("value")
        if found is MISSING and wanted is None:
            return obj
        if found is MISSING or not _equal(found, wanted):
            raise _Refused
        return obj
    source = row.get("from")
    if operation in ("move", "copy") and isinstance(source, str):
        found = _find(obj, _parts(source))
        # The Go library copies what is not there as null.
        if operation == "move":
            _take(obj, _parts(source), work)
        else:
            found = work.copied(None if found is MISSING else found)
        return _add(obj, _parts(path), None if found is MISSING else found, work)
    raise _Refused


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _parts(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise _Refused
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _index(text: str, length: int) -> int:
    body = text[1:] if text.startswith("-") else text
    if not (body.isascii() and body.isdigit()) or len(body) > 9:
        raise _Refused
    found = int(text)
    if found < 0:
        found += length
    if not 0 <= found < length:
        raise _Refused
    return found


def _find(obj: Any, parts: list[str]) -> Any:
    for part in parts:
        if isinstance(obj, dict):
            obj = obj.get(part, MISSING)
            if obj is MISSING:
                return MISSING
        elif isinstance(obj, list):
            obj = obj[_index(part, len(obj))]
        else:
            raise _Refused
    return obj


def _parent(obj: Any, parts: list[str]) -> Any:
    found = _find(obj, parts[:-1])
    if not isinstance(found, dict | list):
        raise _Refused
    return found


def _add(obj: Any, parts: list[str], value: Any, work: _Work) -> Any:
    if not parts:
        return value
    parent, last = _parent(obj, parts), parts[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif last == "-":
        parent.append(value)
    else:
        work.shift(parent)
        parent.insert(_index(last, len(parent) + 1), value)
    return obj


def _replace(obj: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    parent, last = _parent(obj, parts), parts[-1]
    if isinstance(parent, dict):
        parent[last] = value
    else:
        parent[_index(last, len(parent))] = value
    return obj


def _take(obj: Any, parts: list[str], work: _Work) -> None:
    if not parts:
        raise _Refused
    parent, last = _parent(obj, parts), parts[-1]
    if isinstance(parent, dict):
        if last not in parent:
            raise _Refused
        del parent[last]
    else:
        work.shift(parent)
        del parent[_index(last, len(parent))]
