"""Sets without duplicates, and lists whose items are told apart by keys."""

from __future__ import annotations

from typing import Any

import orjson

from labsandbox.apiserver.crd.structural import additional
from labsandbox.apiserver.validation.errors import FieldError, duplicate, invalid

Json = dict[str, Any]


def check_lists(value: Any, schema: Json | None, path: str = "") -> list[FieldError]:
    """Violations of x-kubernetes-list-type, everywhere in `value`."""
    if schema is None:
        return []
    found: list[FieldError] = []
    if isinstance(value, dict):
        more = additional(schema)
        if isinstance(more, dict):
            for key, item in value.items():
                found += check_lists(item, more, f"{path}[{key}]")
        for key, below in (schema.get("properties") or {}).items():
            if key in value:
                found += check_lists(value[key], below, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set":
            for index in _repeated(value):
                found.append(duplicate(f"{path}[{index}]", value[index]))
        elif kind == "map":
            found += _check_map(value, schema, path)
        for index, item in enumerate(value):
            found += check_lists(item, schema.get("items"), f"{path}[{index}]")
    return found


def _repeated(values: list[Any]) -> list[int]:
    """The first repetition of each value that occurs again."""
    times: dict[bytes, int] = {}
    found = []
    for index, value in enumerate(values):
        key = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        times[key] = times.get(key, 0) + 1
        if times[key] == 2:
            found.append(index)
    return found


def _check_map(value: list[Any], schema: Json, path: str) -> list[FieldError]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            detail = "must be an object for an array of list-type map"
            return [invalid(f"{path}[{index}]", item, detail)]
    names = schema.get("x-kubernetes-list-map-keys") or []
    keys = [{name: item[name] for name in names if name in item} for item in value if item]
    if len(keys) != len(value):
        keys = [
            {name: item[name] for name in names if name in (item or {})} if item else {}
            for item in value
        ]
    return [duplicate(f"{path}[{index}]", keys[index]) for index in _repeated(keys)]
