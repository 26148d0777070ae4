"""OpenAPI v2 in protobuf (gnostic's OpenAPIv2.proto): kubectl up to 1.28 asks for nothing else."""

from __future__ import annotations

import struct
from typing import Any

import yaml

Json = dict[str, Any]
METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
INTEGERS = {
    "maxLength": 11,
    "minLength": 12,
    "maxItems": 14,
    "minItems": 15,
    "maxProperties": 17,
    "minProperties": 18,
}
FLOATS = {"multipleOf": 6, "maximum": 7, "minimum": 9}
BOOLEANS = {"exclusiveMaximum": 8, "exclusiveMinimum": 10, "uniqueItems": 16}


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _flag(field: int, value: bool) -> bytes:
    return _varint(field << 3) + b"\x01" if value else b""


def _any(value: Any) -> bytes:
    return _text(2, yaml.safe_dump(value, default_flow_style=False))


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _bytes(2, value)


def schema(source: Json) -> bytes:
    """A Schema message."""
    out = b""
    for key, value in source.items():
        if key in TEXTS:
            out += _text(TEXTS[key], value)
        elif key in INTEGERS:
            out += _varint(INTEGERS[key] << 3) + _varint(value)
        elif key in FLOATS:
            out += _varint(FLOATS[key] << 3 | 1) + struct.pack("<d", value)
        elif key in BOOLEANS:
            out += _flag(BOOLEANS[key], value)
        elif key == "default":
            out += _bytes(5, _any(value))
        elif key == "required":
            out += b"".join(_text(19, name) for name in value)
        elif key == "enum":
            out += b"".join(_bytes(20, _any(item)) for item in value)
        elif key == "additionalProperties":
            inner = _bytes(1, schema(value)) if isinstance(value, dict) else _flag(2, value)
            out += _bytes(21, inner)
        elif key == "type":
            out += _bytes(22, _text(1, value))
        elif key == "items" and isinstance(value, dict):
            out += _bytes(23, _bytes(1, schema(value)))
        elif key == "properties":
            rows = (_bytes(1, _named(name, schema(below))) for name, below in value.items())
            out += _bytes(25, b"".join(rows))
        elif key.startswith("x-"):
            out += _bytes(31, _named(key, _any(value)))
    return out


def _parameter(row: Json) -> bytes:
    if row["in"] == "body":
        body = _text(2, row["name"]) + _text(3, "body") + _flag(4, row.get("required", False))
        return _bytes(1, _bytes(1, body + _bytes(5, schema(row["schema"]))))
    head = _flag(1, row.get("required", False)) + _text(2, row["in"])
    head += _text(3, row.get("description", "")) + _text(4, row["name"])
    if row["in"] == "path":
        return _bytes(1, _bytes(2, _bytes(4, head + _text(5, row["type"]))))
    return _bytes(1, _bytes(2, _bytes(3, head + _text(6, row["type"]))))


def _response(row: Json) -> bytes:
    out = _text(1, row["description"])
    if "schema" in row:
        out += _bytes(2, _bytes(1, schema(row["schema"])))
    return _bytes(1, out)


def _operation(source: Json) -> bytes:
    out = b"".join(_text(1, tag) for tag in source.get("tags", ()))
    out += _text(3, source["description"]) + _text(5, source["operationId"])
    out += b"".join(_text(6, media) for media in source.get("produces", ()))
    out += b"".join(_text(7, media) for media in source.get("consumes", ()))
    out += b"".join(_bytes(8, _parameter(row)) for row in source.get("parameters", ()))
    answers = (_bytes(1, _named(code, _response(row))) for code, row in source["responses"].items())
    out += _bytes(9, b"".join(answers)) + _text(10, "https")
    for key, value in source.items():
        if key.startswith("x-"):
            out += _bytes(13, _named(key, _any(value)))
    return out


def _path(source: Json) -> bytes:
    out = b"".join(
        _bytes(METHODS[method], _operation(operation))
        for method, operation in source.items()
        if method in METHODS
    )
    return out + b"".join(_bytes(9, _parameter(row)) for row in source.get("parameters", ()))


def encode(document: Json) -> bytes:
    """The whole document."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    paths = (_bytes(2, _named(name, _path(below))) for name, below in document["paths"].items())
    definitions = (
        _bytes(1, _named(name, schema(below))) for name, below in document["definitions"].items()
    )
    token = document["securityDefinitions"]["BearerToken"]
    key = _text(1, token["type"]) + _text(2, token["name"]) + _text(3, token["in"])
    key += _text(4, token["description"])
    security = _bytes(1, _named("BearerToken", b""))
    return (
        _text(1, document["swagger"])
        + _bytes(2, info)
        + _bytes(8, b"".join(paths))
        + _bytes(9, b"".join(definitions))
        + _bytes(12, security)
        + _bytes(13, _bytes(1, _named("BearerToken", _bytes(2, key))))
    )
