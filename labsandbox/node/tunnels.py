"""exec, attach and port-forward over SPDY, for clients and API servers that speak it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from labsandbox.network import reach
from labsandbox.node import spdy, streams
from labsandbox.node.pipes import Pipe

Object = dict[str, Any]

VERSION_HEADER = "X-Stream-Protocol-Version"
EXEC_VERSIONS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
FORWARD_VERSION = "portforward.k8s.io"
_OPEN_SECONDS = 30
_CHANNELS = {
    "stdin": streams.STDIN,
    "stdout": streams.STDOUT,
    "stderr": streams.STDERR,
    "error": streams.ERROR,
    "resize": streams.RESIZE,
}


class SpdyChannels:
    """The channels of an exec as SPDY streams."""

    def __init__(self, pipe: Pipe, version: str) -> None:
        self.pipe = pipe
        self.session = spdy.Session(pipe.send)
        self.has_status = version.startswith("v4.")
        self._can_resize = version.startswith(("v3.", "v4."))
        self._events: list[spdy.Event] = []
        self._streams: dict[int, int] = {}  # channel -> stream
        self._frames: list[tuple[int, bytes]] = []

    async def _next(self) -> spdy.Event | None:
        while not self._events:
            data = await self.pipe.receive()
            if data is None:
                return None
            self._events += self.session.feed(data)
            await self.pipe.drain()
        return self._events.pop(0)

    async def open(self, wanted: set[str]) -> None:
        """Wait until the client has opened the streams it announced."""
        missing = {_CHANNELS[name] for name in wanted}
        if not self._can_resize:
            missing.discard(streams.RESIZE)
        async with asyncio.timeout(_OPEN_SECONDS):
            while missing:
                event = await self._next()
                if event is None:
                    raise ConnectionResetError("the client has gone")
                if isinstance(event, spdy.Opened):
                    channel = _CHANNELS.get(event.headers.get("streamtype", ""))
                    if channel is not None:
                        self._streams[channel] = event.stream
                        missing.discard(channel)
                else:
                    self._take(event)

    def _take(self, event: spdy.Event) -> None:
        if not isinstance(event, spdy.Data):
            return
        channel = next((c for c, number in self._streams.items() if number == event.stream), None)
        if channel is None:
            return
        if event.data:
            self._frames.append((channel, event.data))
        if event.is_last and channel == streams.STDIN:
            self._frames.append((streams.CLOSE, b"\0"))

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next channel and its bytes; None when the client is gone."""
        while not self._frames:
            event = await self._next()
            if event is None or (isinstance(event, spdy.Closed) and event.stream == 0):
                return None
            self._take(event)
        return self._frames.pop(0)

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes on a channel, if the client has opened it."""
        if data and channel in self._streams:
            self.session.write(self._streams[channel], data)
            await self.pipe.drain()

    async def finish(self, status: Object) -> None:
        """Send the final status, end all streams and the connection."""
        if self.has_status:
            await self.send(streams.ERROR, json.dumps(status, separators=(",", ":")).encode())
        elif status["status"] != "Success":
            await self.send(streams.ERROR, status["message"].encode())
        for number in self._streams.values():
            self.session.write(number, b"", last=True)
        await self.pipe.drain()
        await self.pipe.close()


class Forwarding:
    """Port-forward over SPDY: a data and an error stream for each connection."""

    def __init__(self, pipe: Pipe, address: str) -> None:
        self.pipe, self.address = pipe, address
        self.session = spdy.Session(pipe.send)
        self._pairs: dict[str, dict[str, int]] = {}
        self._inputs: dict[int, asyncio.Queue[bytes | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Forward until the client ends the connection."""
        try:
            while (data := await self.pipe.receive()) is not None:
                for event in self.session.feed(data):
                    if isinstance(event, spdy.Closed) and event.stream == 0:
                        return
                    self._take(event)
                await self.pipe.drain()
        except (ConnectionError, spdy.ProtocolError):
            return
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.pipe.close()

    def _take(self, event: spdy.Event) -> None:
        if isinstance(event, spdy.Opened):
            self._pair(event)
        elif isinstance(event, spdy.Data) and event.stream in self._inputs:
            queue = self._inputs[event.stream]
            if event.data:
                queue.put_nowait(event.data)
            if event.is_last:
                queue.put_nowait(None)
        elif isinstance(event, spdy.Closed) and event.stream in self._inputs:
            self._inputs[event.stream].put_nowait(None)

    def _pair(self, opened: spdy.Opened) -> None:
        name = opened.headers.get("requestid", opened.headers.get("port", ""))
        pair = self._pairs.setdefault(name, {})
        kind = opened.headers.get("streamtype", "")
        pair[kind] = opened.stream
        if kind == "data":
            self._inputs[opened.stream] = asyncio.Queue()
        if {"data", "error"} <= pair.keys():
            self._pairs.pop(name)
            port = int(opened.headers.get("port", "0"))
            task = asyncio.create_task(self._connect(pair["data"], pair["error"], port))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, data: int, error: int, port: int) -> None:
        try:
            reader, writer = await asyncio.open_connection(*reach(self.address, port))
        except OSError as cause:
            text = f"an error occurred forwarding {port}: {cause.strerror or cause}"
            self.session.write(error, text.encode(), last=True)
            self.session.write(data, b"", last=True)
            await self.pipe.drain()
            self._inputs.pop(data, None)
            return
        inward = asyncio.create_task(self._carry_in(self._inputs[data], writer))
        try:
            while piece := await reader.read(32 * 1024):
                self.session.write(data, piece)
                await self.pipe.drain()
            self.session.write(data, b"", last=True)
            self.session.write(error, b"", last=True)
            await self.pipe.drain()
        except ConnectionError:
            return
        finally:
            inward.cancel()
            self._inputs.pop(data, None)
            writer.close()

    async def _carry_in(
        self, queue: asyncio.Queue[bytes | None], writer: asyncio.StreamWriter
    ) -> None:
        while (piece := await queue.get()) is not None:
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
