"""A watch over a WebSocket: each event is a text message. Java clients ask so, Spark among them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.status import bad_request

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BEARER = "base64url.bearer.authorization.k8s.io."
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_FINAL, _MASKED = 0x80, 0x80
_LONGEST = 64 * 1024
"""What a client may send in one frame; it has nothing to say."""


def is_wanted(request: Request) -> bool:
    """Tell whether the client asks to change to a WebSocket."""
    connection = request.headers.get("connection", "").lower()
    return "upgrade" in connection and request.headers.get("upgrade", "").lower() == "websocket"


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a message in one unmasked frame, as servers send them."""
    size = len(payload)
    head = bytes([_FINAL | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 1 << 16:
        return head + b"\x7e" + size.to_bytes(2, "big") + payload
    return head + b"\x7f" + size.to_bytes(8, "big") + payload


def events(chunks: bytes) -> Iterator[bytes]:
    """Take events out of the chunks that plain watches send.

    >>> list(events(b"3\\r\\n{}\\n\\r\\n5\\r\\n[{}]\\n\\r\\n"))
    [b'{}\\n', b'[{}]\\n']
    """
    at = 0
    while at < len(chunks):
        line = chunks.index(b"\r\n", at)
        begin, size = line + 2, int(chunks[at:line], 16)
        yield chunks[begin : begin + size]
        at = begin + size + 2


class Socket:
    """The client's connection after the change; a watcher writes to it as to any transport."""

    def __init__(self, request: Request) -> None:
        connection: Any = request.connection
        self._transport: Any = connection.transport
        self._unread = b""
        self._answer(request, connection)

    def _answer(self, request: Request, connection: Any) -> None:
        key = request.headers.get("sec-websocket-key", "")
        if not key or request.headers.get("sec-websocket-version") != "13":
            raise bad_request("a WebSocket of version 13 with a Sec-WebSocket-Key was expected")
        proof = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest())
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + proof,
        ]
        if protocol := _protocol(request):
            lines.append(b"Sec-WebSocket-Protocol: " + protocol.encode("latin-1"))
        connection.cycle.response_started = connection.cycle.response_complete = True
        self._transport.write(b"\r\n".join([*lines, b"", b""]))
        connection.tunnel = self._received
        self._received(connection.upgraded)
        self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send events that are framed as chunks."""
        self._transport.write(b"".join(frame(_TEXT, event) for event in events(data)))

    def is_closing(self) -> bool:
        """Tell whether the connection is ending."""
        return bool(self._transport.is_closing())

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the client has not taken yet."""
        return int(self._transport.get_write_buffer_size())

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def close(self) -> None:
        """Say good-bye and end the connection."""
        if not self._transport.is_closing():
            self._transport.write(frame(_CLOSE, b"\x03\xe8"))
            self._transport.close()

    def _received(self, data: bytes) -> None:
        """Answer pings, end when the client does; whatever else it says is passed over."""
        self._unread += data
        while (found := _take(self._unread)) is not None:
            opcode, payload, self._unread = found
            if opcode == _PING:
                self._transport.write(frame(_PONG, payload))
            elif opcode == _CLOSE:
                self.close()
        if len(self._unread) > _LONGEST:
            self.close()


def _take(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Split the first frame of a client off: opcode, unmasked payload, the rest."""
    if len(data) < 2:
        return None
    opcode, is_masked, size, at = data[0] & 0x0F, bool(data[1] & _MASKED), data[1] & 0x7F, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
    mask = data[at : at + 4] if is_masked else b"\0\0\0\0"
    at += 4 if is_masked else 0
    if len(data) < at + size:
        return None
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data[at : at + size]))
    return opcode, payload, data[at + size :]


def _protocol(request: Request) -> str:
    """Return the subprotocol to agree on: the one that is offered beside a token."""
    offered = request.headers.get("sec-websocket-protocol", "")
    kept = [one.strip() for one in offered.split(",") if one.strip()]
    kept = [one for one in kept if not one.startswith(_BEARER)]
    if len(kept) > 1:
        raise bad_request(f"one subprotocol was expected, {len(kept)} were offered")
    return kept[0] if kept else ""
