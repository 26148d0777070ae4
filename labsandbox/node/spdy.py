"""SPDY/3.1 framing, as far as exec and port-forward need it.

kubectl up to 1.30, a real API server's exec and every kubectl's port-forward speak it towards a
kubelet. Several byte streams in one connection, no flow control, headers compressed with a
dictionary both sides know from the specification.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS = 1, 2, 3, 6, 7, 8
FIN = 1
_VERSION = 3
_LARGEST = 16 * 1024 * 1024
_PIECE = 32 * 1024

# The specification's dictionary: words led by their length, then text common in answers.
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status "
)
_MORE_WORDS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive")
_TEXT = (
    "origin1001012012022052063003023033043053063074024054064074084094104114124134144154164175025"
    "04505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
    "Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service "
    "UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, "
    "Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml"
    "+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = b"".join(
        struct.pack(">I", len(word)) + word.encode() for word in (*_WORDS.split(), *_MORE_WORDS)
    )
    return words + struct.pack(">I", len("origin")) + _TEXT.encode()


DICTIONARY = _dictionary()


class ProtocolError(Exception):
    """The other side does not speak SPDY/3."""


@dataclass(frozen=True)
class Opened:
    """The other side opened a stream."""

    stream: int
    headers: dict[str, str]
    is_last: bool


@dataclass(frozen=True)
class Data:
    """Bytes of a stream; `is_last` when no more will come."""

    stream: int
    data: bytes
    is_last: bool


@dataclass(frozen=True)
class Closed:
    """The other side gave up a stream, or the whole connection (stream 0)."""

    stream: int


Event = Opened | Data | Closed


class Session:
    """One side of a SPDY connection: bytes in, events out, and the other way round."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._pending = b""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes and yield what they say."""
        self._pending += data
        while len(self._pending) >= 8:
            first, second = struct.unpack(">II", self._pending[:8])
            flags, length = second >> 24, second & 0xFFFFFF
            if length > _LARGEST:
                raise ProtocolError(f"a frame of {length} bytes is too large")
            if len(self._pending) < 8 + length:
                return
            body, self._pending = self._pending[8 : 8 + length], self._pending[8 + length :]
            if first >> 31:
                yield from self._control(first >> 16 & 0x7FFF, first & 0xFFFF, flags, body)
            else:
                yield Data(first, body, bool(flags & FIN))

    def _control(self, version: int, kind: int, flags: int, body: bytes) -> Iterator[Event]:
        if version != _VERSION:
            raise ProtocolError(f"expected SPDY version {_VERSION}, found {version}")
        if kind == SYN_STREAM:
            (stream,) = struct.unpack(">I", body[:4])
            headers = self._read_headers(body[10:])
            self._write_control(SYN_REPLY, 0, struct.pack(">I", stream) + self._no_headers())
            yield Opened(stream & 0x7FFFFFFF, headers, bool(flags & FIN))
        elif kind == HEADERS:
            self._read_headers(body[4:])  # To keep the compression's state.
        elif kind == PING:
            self._write_control(PING, 0, body)
        elif kind == RST_STREAM:
            yield Closed(struct.unpack(">I", body[:4])[0])
        elif kind == GOAWAY:
            yield Closed(0)

    def _read_headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block)
            (count,) = struct.unpack(">I", plain[:4])
            offset, found = 4, {}
            for _ in range(count):
                name, offset = _word(plain, offset)
                found[name.lower()], offset = _word(plain, offset)
        except (zlib.error, struct.error) as error:
            raise ProtocolError(f"headers cannot be read: {error}") from error
        return found

    def _no_headers(self) -> bytes:
        return self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _write_control(self, kind: int, flags: int, body: bytes) -> None:
        head = struct.pack(">HHI", 0x8000 | _VERSION, kind, flags << 24 | len(body))
        self._send(head + body)

    def write(self, stream: int, data: bytes, last: bool = False) -> None:
        """Send bytes on a stream."""
        pieces = [data[i : i + _PIECE] for i in range(0, len(data), _PIECE)] or [b""]
        for number, piece in enumerate(pieces, start=1):
            flags = FIN if last and number == len(pieces) else 0
            self._send(struct.pack(">II", stream, flags << 24 | len(piece)) + piece)

    def go_away(self) -> None:
        """Say that this side will end the connection."""
        self._write_control(GOAWAY, 0, struct.pack(">II", 0, 0))


def _word(plain: bytes, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack(">I", plain[offset : offset + 4])
    end = offset + 4 + length
    return plain[offset + 4 : end].decode(errors="replace"), end
