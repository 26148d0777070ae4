"""Connections to replicas that stay open: a call costs a tenth of what a general client takes.

One exchange at a time on each. A connection that was silent for `REST` seconds is not used again:
the replica may be closing it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import cast

import httptools

__all__ = ["Lines", "Lost"]

CONNECT, REST = 2.0, 60.0
MOST_IDLE = 64


class Lost(ConnectionError):
    """The replica went away before its answer was complete.

    ConnectionError
    └── Lost
    """


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.is_usable = False
        self.rested = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.is_usable = cast(asyncio.Transport, transport), True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        self._fail()

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; the future is its status and body."""
        assert self.transport is not None
        self.parser, self.pieces = httptools.HttpResponseParser(self), list[bytes]()
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        if self.answer is None or self.answer.done():
            self.close()  # nobody asked
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            self._fail()

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        if not self.parser.should_keep_alive():
            self.close()
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((self.parser.get_status_code(), b"".join(self.pieces)))

    def close(self) -> None:
        self.is_usable = False
        if self.transport is not None:
            self.transport.close()

    def _fail(self) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Lost("The replica closed the connection."))


class Lines:
    """The connections to all replicas."""

    def __init__(self, port: int, path: str) -> None:
        self.port, self.path = port, path
        self.idle: defaultdict[str, list[Line]] = defaultdict(list)

    def close(self) -> None:
        for line in [line for lines in self.idle.values() for line in lines]:
            line.close()
        self.idle.clear()

    async def post(self, address: str, body: bytes, seconds: float) -> tuple[int, bytes]:
        """Return status and body of a POST; OSError when the replica cannot be reached or goes."""
        line = self._rested(address) or await self._open(address)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(seconds):
                found = await line.ask(head.encode() + body)
        except BaseException:
            line.close()
            raise
        if line.is_usable and len(self.idle[address]) < MOST_IDLE:
            line.rested = time.monotonic()
            self.idle[address].append(line)
        else:
            line.close()
        return found

    def _rested(self, address: str) -> Line | None:
        lines = self.idle.get(address, [])
        while lines:
            line = lines.pop()
            if line.is_usable and time.monotonic() - line.rested < REST:
                return line
            line.close()
        self.idle.pop(address, None)
        return None

    async def _open(self, address: str) -> Line:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT):
                _, line = await loop.create_connection(Line, address, self.port)
        except TimeoutError:
            raise Lost(f"{address} took no connection within {CONNECT:g} s.") from None
        return line
