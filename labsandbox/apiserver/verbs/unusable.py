"""A patch whose result is no object of its kind: 422 that shows what came out."""

from __future__ import annotations

import re
from typing import Any

import orjson

from labsandbox.apiserver.status import StatusError, invalid
from labsandbox.apiserver.verbs.options import Problem

Json = dict[str, Any]
_METADATA = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation",
    "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels",
    "annotations", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip
_MISMATCH = re.compile(r"cannot unmarshal (\w+) into Go .* of type (\S+)$")
_SOURCES = {"array": "slice", "object": "map", "number": "int64"}
_BASIC = {"string", "bool", "int", "int32", "int64", "uint8", "float32", "float64"}


def unusable_document(result: Any, why: str) -> StatusError:
    """The result of a JSON or merge patch, whole."""
    if isinstance(result, dict):
        result = {key: result[key] for key in sorted(result)}
        metadata = result.get("metadata")
        if isinstance(metadata, dict):
            known = [key for key in _METADATA if key in metadata]
            rest = sorted(set(metadata) - set(known))
            result["metadata"] = {key: metadata[key] for key in (*known, *rest)}
    text = orjson.dumps(result).decode()
    return _refused(orjson.dumps(text).decode(), why)


def unusable_patch(patch: Any, why: str) -> StatusError:
    """A strategic merge patch, as Go prints the map it was read into."""
    found = _MISMATCH.search(why)
    if found is not None:
        why = _restore_message(*found.groups())
    return _refused(f'"{go_text(patch)}"', why)


def _restore_message(source: str, target: str) -> str:
    shown = _SOURCES.get(source, source)
    bare = target.lstrip("*")
    if bare.startswith("map["):
        return f"cannot restore map from {shown}"
    if bare.startswith("[]"):
        return f"cannot restore slice from {shown}"
    if bare == "string" and source == "number":
        return "cannot convert int64 to string"
    if bare in _BASIC:
        return f"unrecognized type: {bare}"
    return f"cannot restore struct from: {shown}"


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
    return str(value)
