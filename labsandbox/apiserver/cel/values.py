"""JSON values to CEL values and back.

With a schema, numbers, times and bytes get their CEL types, and field names CEL cannot spell are
escaped as Kubernetes escapes them.
"""

from __future__ import annotations

import base64
from typing import Any

from celpy import celtypes

RESERVED = frozenset(
    (
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)
ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
Json = dict[str, Any]


def escape(name: str) -> str:
    """The CEL spelling of a field name."""
    if name in RESERVED:
        return f"__{name}__"
    for plain, escaped in ESCAPES:
        name = name.replace(plain, escaped)
    return name


def to_cel(value: Any, schema: Json | None = None) -> Any:
    """A JSON value as a CEL value."""
    if value is None:
        return None
    if isinstance(value, bool):
        return celtypes.BoolType(value)
    if isinstance(value, dict):
        return _map(value, schema)
    if isinstance(value, list):
        items = (schema or {}).get("items")
        inner = items if isinstance(items, dict) else None
        return celtypes.ListType([to_cel(item, inner) for item in value])
    kind, form = (schema or {}).get("type"), (schema or {}).get("format")
    if isinstance(value, int):
        return celtypes.DoubleType(value) if kind == "number" else celtypes.IntType(value)
    if isinstance(value, float):
        if kind == "integer" and value.is_integer():
            return celtypes.IntType(int(value))
        return celtypes.DoubleType(value)
    if kind == "string" and form:
        return _formatted(value, form)
    return celtypes.StringType(value)


def _formatted(value: str, form: str) -> Any:
    try:
        if form in ("date-time", "datetime"):
            return celtypes.TimestampType(value)
        if form == "date":
            return celtypes.TimestampType(f"{value}T00:00:00Z")
        if form == "duration":
            return celtypes.DurationType(value)
        if form == "byte":
            return celtypes.BytesType(base64.b64decode(value))
    except ValueError:
        pass
    return celtypes.StringType(value)


def _map(value: Json, schema: Json | None) -> Any:
    properties = (schema or {}).get("properties") or {}
    more = (schema or {}).get("additionalProperties")
    inner = more if isinstance(more, dict) else None
    found = {}
    for key, item in value.items():
        if key in properties:
            found[celtypes.StringType(escape(key))] = to_cel(item, properties[key])
        else:
            found[celtypes.StringType(key)] = to_cel(item, inner)
    return celtypes.MapType(found)


def from_cel(value: Any) -> Any:
    """A CEL value as a JSON value; times and durations become text."""
    if isinstance(value, celtypes.BoolType):
        return bool(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, celtypes.IntType | celtypes.UintType):
        return int(value)
    if isinstance(value, celtypes.DoubleType):
        return float(value)
    if isinstance(value, celtypes.StringType):
        return str(value)
    if isinstance(value, celtypes.BytesType):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dict):
        return {str(from_cel(key)): from_cel(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [from_cel(item) for item in value]
    return str(value)
