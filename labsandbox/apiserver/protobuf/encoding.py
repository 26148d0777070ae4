"""Writes the protobuf form of an object for a client that accepts nothing else."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from labsandbox.apiserver.protobuf.tables import Field, Message, find_kind, find_message
from labsandbox.apiserver.protobuf.wire import DELIMITED, MAGIC, VARINT

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Go writes values that are not pointers even when they are empty.
EMPTY: dict[str, Any] = {"str": "", "int": 0, "bool": False}
LIST = {1: Field("metadata", "ListMeta")}


class Unencodable(LookupError):
    """No message table describes the kind; answer 406."""


def encode(obj: dict[str, Any]) -> bytes:
    """Encode an object or a list of a kind the tables know, in its ``k8s\\0`` envelope."""
    api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
    message = find_kind(api_version, kind)
    if message is None and kind.endswith("List"):
        item = kind.removesuffix("List")
        if find_kind(api_version, item) is not None:
            message = {**LIST, 2: Field("items", item, is_list=True)}
    if message is None and kind == "Status":
        message = find_message("meta", "Status")
    if message is None:
        raise Unencodable(f"{api_version} {kind} has no protobuf form here")
    head = _field(1, api_version.encode()) + _field(2, kind.encode())
    raw = _Writer(api_version).write(message, obj)
    # An empty content encoding and content type follow, as Go writes them.
    return MAGIC + _field(1, head) + _field(2, raw) + _field(3, b"") + _field(4, b"")


class _Writer:
    """Writes messages of one group version."""

    def __init__(self, api_version: str) -> None:
        self._version = api_version

    def write(self, message: Message, obj: dict[str, Any]) -> bytes:
        parts = []
        for number, field in sorted(message.items()):
            if field.is_inline:
                parts.append(_field(number, self._bytes(field.type, obj)))
                continue
            value = obj.get(field.name)
            if value is None and field.type in EMPTY and not _may_be_absent(field):
                value = EMPTY[field.type]
            if value is not None:
                parts.append(self._put(number, field, value))
        return b"".join(parts)

    def _put(self, number: int, field: Field, value: Any) -> bytes:
        if field.is_list:
            return b"".join(self._one(number, field.type, item) for item in value)
        if field.is_map:
            entries = []
            for key in sorted(value):
                pair = _field(1, key.encode()) + self._one(2, field.type, value[key])
                entries.append(_field(number, pair))
            return b"".join(entries)
        return self._one(number, field.type, value)

    def _one(self, number: int, kind: str, value: Any) -> bytes:
        if kind in ("int", "bool"):
            return _varint(number << 3 | VARINT) + _varint(int(value))
        return _field(number, self._bytes(kind, value))

    def _bytes(self, kind: str, value: Any) -> bytes:
        if kind == "str":
            return str(value).encode()
        if kind == "bytes":
            return base64.b64decode(value)
        if kind in ("Time", "MicroTime"):
            return _moment(str(value))
        if kind == "Quantity":
            return _field(1, str(value).encode())
        if kind in ("FieldsV1", "RawExtension"):
            return _field(1, json.dumps(value, separators=(",", ":")).encode())
        if kind == "ExtraValue":
            return b"".join(_field(1, str(item).encode()) for item in value)
        if kind == "IntOrString":
            return _int_or_string(value)
        message = find_message(self._version, kind)
        return self.write(message or {}, value if isinstance(value, dict) else {})


def _may_be_absent(field: Field) -> bool:
    return field.is_pointer or field.is_list or field.is_map


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, int):
        return _varint(1 << 3) + _varint(0) + _varint(2 << 3) + _varint(value)
    return _varint(1 << 3) + _varint(1) + _field(3, value.encode())


def _moment(text: str) -> bytes:
    passed = datetime.fromisoformat(text) - EPOCH
    seconds = passed.days * 86400 + passed.seconds
    nanos = passed.microseconds * 1000
    return _varint(1 << 3) + _varint(seconds) + _varint(2 << 3) + _varint(nanos)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | DELIMITED) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
