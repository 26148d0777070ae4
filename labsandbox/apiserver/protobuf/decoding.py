"""Turns a protobuf body into the document its JSON form would have been."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from labsandbox.apiserver.protobuf.tables import (
    SCALARS,
    Field,
    Message,
    find_kind,
    find_message,
)
from labsandbox.apiserver.protobuf.wire import (
    MAGIC,
    Malformed,
    read_fields,
    read_varints,
    signed,
)

__all__ = ["Malformed", "decode"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT32 = 1 << 31


def decode(body: bytes) -> dict[str, Any]:
    """Decode the ``k8s\\0`` envelope and the object in it."""
    if not body.startswith(MAGIC):
        raise Malformed(
            f"provided data does not appear to be a protobuf message, expected prefix {list(MAGIC)}"
        )
    api_version, kind, raw = _envelope(body[len(MAGIC) :])
    message = find_kind(api_version, kind)
    if message is None:
        raise Malformed(f'no kind "{kind}" is registered for version "{api_version}"')
    return {"apiVersion": api_version, "kind": kind, **_Reader(api_version).read(message, raw)}


def _envelope(data: bytes) -> tuple[str, str, bytes]:
    api_version = kind = ""
    raw = b""
    for number, value in read_fields(data):
        if number == 1 and isinstance(value, bytes):
            for inner, text in read_fields(value):
                if inner == 1 and isinstance(text, bytes):
                    api_version = _text(text)
                elif inner == 2 and isinstance(text, bytes):
                    kind = _text(text)
        elif number == 2 and isinstance(value, bytes):
            raw = value
    return api_version, kind, raw


class _Reader:
    """Reads messages of one group version."""

    def __init__(self, api_version: str) -> None:
        self._version = api_version

    def read(self, message: Message, data: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, value in read_fields(data):
            field = message.get(number)
            if field is not None:
                self._put(found, field, value)
        return found

    def _put(self, found: dict[str, Any], field: Field, value: int | bytes) -> None:
        if field.is_list:
            self._append(found.setdefault(field.name, []), field, value)
        elif field.is_map:
            key, item = self._entry(field, value)
            found.setdefault(field.name, {})[key] = item
        elif field.is_inline:
            inner = self._value(field.type, value)
            if isinstance(inner, dict):
                found.update(inner)
        else:
            item = self._value(field.type, value)
            # A Go value is always sent, so its zero says nothing; a pointer's zero was chosen.
            if item is not None and (field.is_pointer or item or isinstance(item, dict)):
                found[field.name] = item

    def _append(self, items: list[Any], field: Field, value: int | bytes) -> None:
        if field.type == "int" and isinstance(value, bytes):
            items.extend(signed(number) for number in read_varints(value))
        else:
            items.append(self._value(field.type, value))

    def _entry(self, field: Field, value: int | bytes) -> tuple[str, Any]:
        key, item = "", b"" if field.type not in ("int", "bool") else 0
        for number, part in read_fields(_bytes(field, value)):
            if number == 1:
                key = _text(_bytes(field, part))
            elif number == 2:
                item = part
        return key, self._value(field.type, item)

    def _value(self, kind: str, value: int | bytes) -> Any:
        if kind in ("int", "bool"):
            if not isinstance(value, int):
                raise Malformed("proto: wrong wireType = 2 for an integer field")
            return bool(value) if kind == "bool" else signed(value)
        if not isinstance(value, bytes):
            raise Malformed("proto: wrong wireType = 0 for a length-delimited field")
        if kind in SCALARS:
            return _text(value) if kind == "str" else base64.b64encode(value).decode()
        special = _SPECIAL.get(kind)
        if special is not None:
            return special(value)
        message = find_message(self._version, kind)
        if message is None:
            raise LookupError(
                f"The message tables name {kind} and do not describe it. This is a bug in "
                "labsandbox; please report it with the output of `labsandbox logs`."
            )
        return self.read(message, value)


def _bytes(field: Field, value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise Malformed(f"proto: wrong wireType = 0 for field {field.name}")
    return value


def _text(value: bytes) -> str:
    # Go strings need not be UTF-8; JSON carries the replacement character instead.
    return value.decode("utf-8", "replace")


def _numbers(value: bytes) -> dict[int, int | bytes]:
    return dict(read_fields(value))


def _moment(value: bytes, digits: int) -> str | None:
    parts = _numbers(value)
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise Malformed("proto: wrong wireType = 2 for a timestamp")
    if not parts:
        return None
    try:
        moment = EPOCH + timedelta(seconds=signed(seconds), microseconds=nanos // 1000)
    except OverflowError as error:
        raise Malformed("proto: a timestamp lies outside the years 1 to 9999") from error
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond:06d}Z" if digits else f"{text}Z"


def _int_or_string(value: bytes) -> int | str:
    parts = _numbers(value)
    if parts.get(1, 0) == 1:
        text = parts.get(3, b"")
        return _text(text) if isinstance(text, bytes) else ""
    number = parts.get(2, 0)
    return signed(number) if isinstance(number, int) else 0


def _quantity(value: bytes) -> str:
    text = _numbers(value).get(1, b"")
    return _text(text) if isinstance(text, bytes) else ""


def _raw_json(value: bytes) -> Any:
    raw = _numbers(value).get(1, b"")
    if not isinstance(raw, bytes) or not raw:
        return {}
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Malformed(f"a field that holds JSON does not: {error}") from error


def _strings(value: bytes) -> list[str]:
    return [_text(item) for _, item in read_fields(value) if isinstance(item, bytes)]


_SPECIAL = {
    "Time": lambda value: _moment(value, 0),
    "MicroTime": lambda value: _moment(value, 6),
    "IntOrString": _int_or_string,
    "Quantity": _quantity,
    "FieldsV1": _raw_json,
    "RawExtension": _raw_json,
    "ExtraValue": _strings,
}
