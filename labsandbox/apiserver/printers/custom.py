"""Columns and cells of custom resources: the simple JSON paths of `additionalPrinterColumns`."""

from __future__ import annotations

import json
import operator
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from labsandbox.apiserver.printers.age import read_moment, span
from labsandbox.apiserver.printers.cells import Json
from labsandbox.apiserver.printers.columns import META, Column, column, describe, name_column

STEP = re.compile(
    r"""\.\.?(?P<name>(?:[^.\[\\]|\\.)+)"""
    r"""|\[\s*(?P<index>-?\d+)\s*\]"""
    r"""|\[\s*(?P<every>\*)\s*\]"""
    r"""|\[\s*['"](?P<quoted>[^'"]+)['"]\s*\]"""
    r"""|\[\?\(\s*@\.(?P<field>[\w.\-/]+)\s*(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>[^)]+?)\s*\)\]"""
)
COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def scale_columns() -> list[Json]:
    """How the Scale of a custom object is printed."""
    return [
        {
            "name": "Desired",
            "type": "integer",
            "description": "Number of desired replicas",
            "jsonPath": ".spec.replicas",
        },
        {
            "name": "Available",
            "type": "integer",
            "description": "Number of actual replicas",
            "jsonPath": ".status.replicas",
        },
        {
            "name": "Age",
            "type": "date",
            "description": describe(META, "creationTimestamp"),
            "jsonPath": ".metadata.creationTimestamp",
        },
    ]


def custom_columns(definitions: list[Json]) -> tuple[Column, ...]:
    """The Name column and those of the definition."""
    found = [name_column()]
    for one in definitions:
        path = one["jsonPath"]
        text = (
            one.get("description")
            or f"Custom resource definition column (in JSONPath format): {path}"
        )
        found.append(
            column(
                one["name"], one["type"], text, one.get("priority") or 0, one.get("format") or ""
            )
        )
    return tuple(found)


def custom_row(obj: Json, definitions: list[Json]) -> list[Any]:
    """The cells of a custom resource."""
    cells: list[Any] = [obj.get("metadata", {}).get("name", "")]
    for one in definitions:
        found = find(obj, one["jsonPath"])
        cells.append(_cell(one["type"], found[0]) if found else None)
    return cells


def find(obj: Any, path: str) -> list[Any]:
    """All values a simple JSON path selects."""
    steps = _steps(path)
    if steps is None:
        return []
    found = [obj]
    for step in steps:
        found = [result for value in found for result in _follow(value, step)]
    return found


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[re.Match[str], ...] | None:
    """The steps of a path; None when it is none this server understands."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps, at = [], 0
    while at < len(text):
        match = STEP.match(text, at)
        if match is None:
            return None
        steps.append(match)
        at = match.end()
    return tuple(steps)


def _follow(value: Any, step: re.Match[str]) -> list[Any]:
    key = step["name"] or step["quoted"]
    if key is not None:
        key = re.sub(r"\\(.)", r"\1", key)
        if key == "*":
            return list(value.values()) if isinstance(value, dict) else list(value or ())
        return [value[key]] if isinstance(value, dict) and key in value else []
    if not isinstance(value, list):
        return []
    if step["index"] is not None:
        index = int(step["index"])
        return [value[index]] if -len(value) <= index < len(value) else []
    if step["every"]:
        return list(value)
    return [item for item in value if _matches(item, step)]


def _matches(item: Any, step: re.Match[str]) -> bool:
    found = find(item, "." + step["field"])
    text = step["value"].strip()
    try:
        wanted: Any = text[1:-1] if text[:1] in "'\"" else json.loads(text)
        return bool(found) and bool(COMPARE[step["op"]](found[0], wanted))
    except (TypeError, ValueError):
        return False


def _cell(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "string":
        return _text(value)
    if kind == "date":
        return _date(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if kind == "integer" else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _date(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    moment = read_moment(value)
    if moment is None:
        return "<invalid>"
    return span((datetime.now(UTC) - moment).total_seconds())
