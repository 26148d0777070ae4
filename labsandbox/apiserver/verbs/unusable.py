"""A patch whose result is no object of its kind: 422 that shows what came out."""

from __future__ import annotations

from typing import Any

import orjson

from labsandbox.apiserver.status import StatusError, invalid
from labsandbox.apiserver.validation.goprint import number
from labsandbox.apiserver.verbs.options import Problem

Json = dict[str, Any]


def sort_touched(result: Any, operations: Any) -> None:
    """Sort the maps a JSON patch walked through: Go writes those sorted, others as they were."""
    for row in operations if isinstance(operations, list) else ():
        for text in (row.get("path"), row.get("from")):
            if not isinstance(text, str):
                continue
            place = result
            for part in ["", *text.split("/")[1:-1]]:
                if part:
                    place = place.get(part) if isinstance(place, dict) else None
                if not isinstance(place, dict):
                    break
                members = sorted(place.items())
                place.clear()
                place.update(members)


def sort_all(value: Any) -> Any:
    """Sort every map, as custom objects are written."""
    if isinstance(value, dict):
        return {key: sort_all(value[key]) for key in sorted(value)}
    return [sort_all(item) for item in value] if isinstance(value, list) else value


def unusable_document(result: Any, why: str) -> StatusError:
    """The result of a JSON or merge patch, whole."""
    text = orjson.dumps(result).decode()
    return _refused(orjson.dumps(text).decode(), why)


def unusable_patch(patch: Any, why: str) -> StatusError:
    """A strategic merge patch, as Go prints the map it was read into."""
    return _refused(f'"{go_text(patch)}"', why)


def _refused(shown: str, why: str) -> StatusError:
    problem = Problem("patch", "FieldValueInvalid", f"Invalid value: {shown}: {why}")
    error = invalid("", "", "", [problem])
    assert error.details is not None
    error.details.pop("kind", None)
    return error


def go_text(value: Any) -> str:
    """A JSON value as Go's %v prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(go_text(item) for item in value)}]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, float) else str(value)
