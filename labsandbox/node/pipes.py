"""A connection taken over from the HTTP server: bytes both ways, over TLS or in a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Protocol

from aiohttp import WSMessage, WSMsgType, hdrs, web
from aiohttp.abc import AbstractStreamWriter

_MOST_WAITING = 4 * 1024 * 1024
_FAREWELL_SECONDS = 2.0


class Pipe(Protocol):
    """What SPDY runs over."""

    def send(self, data: bytes) -> None:
        """Put bytes on their way."""

    async def drain(self) -> None:
        """Wait until there is room for more."""

    async def receive(self) -> bytes | None:
        """Return what came next; None at the end."""

    async def close(self) -> None:
        """End the connection, giving the other side a moment to do so first."""


class Hijacked(web.StreamResponse):
    """Tells the HTTP server that the answer has been given already."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class RawPipe(asyncio.Protocol):
    """The connection itself, from the moment the protocol is switched."""

    def __init__(self, request: web.Request) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        # Not checked by its class: uvloop's transports are no asyncio.Transport.
        self.transport = transport
        self._before = request.protocol
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._size = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._lost = asyncio.Event()
        self.transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came until it is asked for."""
        self._waiting.put_nowait(data)
        self._size += len(data)
        if self._size > _MOST_WAITING:
            self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """End here, and in the HTTP server's books."""
        self._waiting.put_nowait(None)
        self._has_room.set()
        self._lost.set()
        self._before.connection_lost(error)

    def pause_writing(self) -> None:
        """Notice that the other side reads too slowly."""
        self._has_room.clear()

    def resume_writing(self) -> None:
        """Notice that it has caught up."""
        self._has_room.set()

    def send(self, data: bytes) -> None:
        """Put bytes on their way."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room for more."""
        await self._has_room.wait()
        if self._lost.is_set():
            raise ConnectionResetError("the client has gone")

    async def receive(self) -> bytes | None:
        """Return what came next; None at the end."""
        data = await self._waiting.get()
        if data is not None:
            self._size -= len(data)
            if self._size <= _MOST_WAITING and not self._lost.is_set():
                self.transport.resume_reading()
        return data

    async def close(self) -> None:
        """End the connection, giving the other side a moment to do so first."""
        if self._lost.is_set():
            return
        self.transport.resume_reading()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._lost.wait()
        except TimeoutError:
            self.transport.close()


def payload(message: WSMessage) -> bytes | None:
    """Return the bytes of a frame, of text or not; None when it holds none: the client is gone."""
    if message.type is WSMsgType.TEXT:
        return str(message.data).encode()
    return bytes(message.data) if message.type is WSMsgType.BINARY else None


class SocketPipe:
    """Bytes as the binary messages of a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self._waiting = bytearray()

    def send(self, data: bytes) -> None:
        """Put bytes on their way; they leave with the next drain."""
        self._waiting += data

    async def drain(self) -> None:
        """Send what is waiting."""
        if self._waiting:
            data, self._waiting = bytes(self._waiting), bytearray()
            await self.socket.send_bytes(data)

    async def receive(self) -> bytes | None:
        """Return what came next; None at the end."""
        return payload(await self.socket.receive())

    async def close(self) -> None:
        """Send what is waiting and end the connection."""
        if not self.socket.closed:
            await self.drain()
            await self.socket.close(code=1000)


def take_over(request: web.Request, headers: dict[str, str]) -> RawPipe:
    """Switch the protocol of a request's connection to SPDY and return the connection."""
    pipe = RawPipe(request)
    lines = ["HTTP/1.1 101 Switching Protocols", f"{hdrs.CONNECTION}: Upgrade"]
    lines += [f"{hdrs.UPGRADE}: SPDY/3.1", *(f"{name}: {text}" for name, text in headers.items())]
    pipe.send(("\r\n".join(lines) + "\r\n\r\n").encode())
    return pipe
