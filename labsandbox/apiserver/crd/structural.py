"""Structural schemas at work: pruning unknown fields, nulls and defaults of custom objects.

Schemas are the JSON of a CRD's openAPIV3Schema, used as they are.
"""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]
META_FIELDS = frozenset(("apiVersion", "kind", "metadata"))
MAX_MESSAGES = 100


def additional(schema: Json) -> Json | bool | None:
    """The schema of additional properties; True when anything goes, None when there are none."""
    found = schema.get("additionalProperties")
    if isinstance(found, dict) and set(found) <= {"Allows", "allows"}:
        return True
    return found if isinstance(found, dict | bool) else None


def prune(obj: Any, schema: Json | None, is_root: bool = True) -> list[str]:
    """Take out what the schema does not know, in place; returns the paths, sorted."""
    if is_root:
        schema = {**(schema or {}), "x-kubernetes-embedded-resource": True}
    unknown: list[str] = []
    _prune(obj, schema, "", unknown)
    return sorted(unknown)[:MAX_MESSAGES]


def _prune(value: Any, schema: Json | None, path: str, unknown: list[str]) -> None:
    if schema is not None and schema.get("x-kubernetes-preserve-unknown-fields"):
        _skip(value, schema, path, unknown)
    elif isinstance(value, dict):
        _prune_map(value, schema, path, unknown)
    elif isinstance(value, list):
        items = schema.get("items") if schema is not None else None
        for index, item in enumerate(value):
            _prune(item, items, f"{path}[{index}]", unknown)


def _prune_map(value: Json, schema: Json | None, path: str, unknown: list[str]) -> None:
    if schema is None:
        for key in list(value):
            unknown.append(_join(path, key))
            del value[key]
        return
    properties = schema.get("properties") or {}
    more = additional(schema)
    embedded = schema.get("x-kubernetes-embedded-resource")
    for key in list(value):
        if embedded and key in META_FIELDS:
            continue
        below = _join(path, key)
        if key in properties:
            _prune(value[key], properties[key], below, unknown)
        elif isinstance(more, dict):
            _prune(value[key], more, below, unknown)
        elif more is True:
            continue
        else:
            if key not in META_FIELDS or path:
                unknown.append(below)
            del value[key]


def _skip(value: Any, schema: Json, path: str, unknown: list[str]) -> None:
    """Below x-kubernetes-preserve-unknown-fields only declared parts are pruned."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        more = additional(schema)
        for key, item in value.items():
            if schema.get("x-kubernetes-embedded-resource") and key in META_FIELDS:
                continue
            if key in properties:
                _prune(item, properties[key], _join(path, key), unknown)
            elif isinstance(more, dict):
                _prune(item, more, _join(path, key), unknown)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            _skip(item, schema["items"], f"{path}[{index}]", unknown)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def prune_nulls(value: Any, schema: Json | None) -> None:
    """Take out nulls where the schema allows none and has no default to put there."""
    if schema is None:
        return
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        more = additional(schema)
        for key in list(value):
            below = properties.get(key) or (more if isinstance(more, dict) else None)
            if below is None:
                continue
            if value[key] is None and not below.get("nullable") and "default" not in below:
                del value[key]
            else:
                prune_nulls(value[key], below)
    elif isinstance(value, list):
        for item in value:
            prune_nulls(item, schema.get("items"))


def fill_defaults(value: Any, schema: Json | None) -> None:
    """Set defaults, in place; a null that is not allowed counts as missing."""
    if schema is None:
        return
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for key, below in properties.items():
            if below.get("default") is None:
                continue
            if key not in value or _is_bad_null(value[key], below):
                value[key] = copy.deepcopy(below["default"])
        more = additional(schema)
        for key in value:
            if key in properties:
                fill_defaults(value[key], properties[key])
            elif isinstance(more, dict):
                if _is_bad_null(value[key], more):
                    value[key] = copy.deepcopy(more.get("default"))
                fill_defaults(value[key], more)
    elif isinstance(value, list):
        items = schema.get("items")
        for index, item in enumerate(value):
            if items is not None and _is_bad_null(item, items):
                value[index] = copy.deepcopy(items.get("default"))
            fill_defaults(value[index], items)


def _is_bad_null(value: Any, schema: Json) -> bool:
    return value is None and not schema.get("nullable")


def has_list_types(schema: Json) -> bool:
    """Does the schema declare list types anywhere? (Most do not: then nothing is walked.)"""
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        return True
    more = additional(schema)
    inner = [*(schema.get("properties") or {}).values(), schema.get("items"), more]
    return any(has_list_types(found) for found in inner if isinstance(found, dict))
