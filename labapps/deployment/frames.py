"""How the server and a worker process talk: batches of bodies one way, of replies the other.

A frame is its length, the number of its parts, and for each part a number (what is asked, or the
HTTP status) and its length. Bodies pass through as they came: only the worker parses them.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

__all__ = ["CSV", "INVOCATIONS", "OLD", "PREDICT", "invocation", "pack", "receive", "unpack"]

PREDICT, INVOCATIONS, OLD, CSV = 1, 2, 3, 4
"""What a body is: the published form, MLflow's, that of MLflow 1.x by its content type, CSV."""
HEAD = struct.Struct(">II")
PART = struct.Struct(">HI")


def invocation(content_type: str) -> int:
    """Return what the body of a request to /invocations is, by its content type.

    >>> invocation("application/json; format=pandas-split") == OLD, invocation("text/csv") == CSV
    (True, True)
    """
    kind, _, parameters = content_type.lower().partition(";")
    if kind.strip() == "text/csv":
        return CSV
    return OLD if "format=pandas-" in parameters.replace(" ", "") else INVOCATIONS


def pack(parts: Sequence[tuple[int, bytes]]) -> bytes:
    """Make a frame of numbered parts.

    >>> unpack(pack([(200, b"a"), (422, b"")]))
    [(200, b'a'), (422, b'')]
    """
    heads = b"".join([PART.pack(number, len(body)) for number, body in parts])
    bodies = b"".join([body for _, body in parts])
    return HEAD.pack(len(heads) + len(bodies), len(parts)) + heads + bodies


def unpack(frame: bytes | bytearray | memoryview) -> list[tuple[int, bytes]]:
    """Take a whole frame apart."""
    _, count = HEAD.unpack_from(frame)
    start = HEAD.size + count * PART.size
    parts = []
    for index in range(count):
        number, size = PART.unpack_from(frame, HEAD.size + index * PART.size)
        parts.append((number, bytes(frame[start : start + size])))
        start += size
    return parts


def length(data: bytes | bytearray) -> int | None:
    """Return how long the frame at the start of `data` is; None if that is not known yet."""
    return HEAD.size + HEAD.unpack_from(data)[0] if len(data) >= HEAD.size else None


def receive(sock: socket.socket) -> list[tuple[int, bytes]] | None:
    """Wait for one frame on a blocking socket; None when the other end is gone."""
    data = bytearray()
    while (need := length(data)) is None or len(data) < need:
        chunk = sock.recv(1 << 20 if need and need > 65536 else 65536)
        if not chunk:
            return None
        data += chunk
    return unpack(data)
