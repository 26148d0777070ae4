"""The protobuf wire format: tags, varints and length-delimited fields, with every bound checked."""

from __future__ import annotations

from collections.abc import Iterator

MAGIC = b"k8s\x00"
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
VARINT_BYTES = 10


class Malformed(ValueError):
    """The bytes are not a message this server can read."""


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field of a message: its number and an integer or the bytes it holds."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise Malformed(f"proto: illegal tag 0 (wire type {kind})")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == DELIMITED:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise Malformed("unexpected EOF")
            yield number, data[at : at + length]
            at += length
        elif kind in (FIXED64, FIXED32):
            width = 8 if kind == FIXED64 else 4
            if at + width > len(data):
                raise Malformed("unexpected EOF")
            yield number, int.from_bytes(data[at : at + width], "little")
            at += width
        else:
            raise Malformed(f"proto: illegal wireType {kind}")


def read_varints(data: bytes) -> Iterator[int]:
    """Yield the integers of a packed list."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def signed(value: int) -> int:
    """Read a 64-bit varint as the signed number it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for index in range(VARINT_BYTES):
        if at >= len(data):
            raise Malformed("unexpected EOF")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return result & (1 << 64) - 1, at
    raise Malformed("proto: integer overflow")
