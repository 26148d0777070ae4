"""The WebSocket side of exec, attach and port-forward: channels, frames and final status."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import pty
import struct
import termios
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web

from labsandbox.network import reach
from labsandbox.node import commands
from labsandbox.node.launch import CannotRun
from labsandbox.node.pipes import payload
from labsandbox.node.roles import Container
from labsandbox.node.supervisor import KeeperError

Object = dict[str, Any]

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
_CHUNK = 32 * 1024
_DRAIN_SECONDS = 0.3


class Channels(Protocol):
    """Channels of whatever kind: WebSocket frames or SPDY streams."""

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes on a channel."""

    async def finish(self, status: Object) -> None:
        """Send the final status and close."""

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next channel and its bytes; None when the client is gone."""


class WebSocketChannels:
    """A WebSocket that carries several byte streams, each frame led by its channel."""

    def __init__(self, socket: web.WebSocketResponse, protocol: str) -> None:
        self.socket, self.protocol = socket, protocol
        self.is_text = "base64" in protocol
        self.has_status = protocol.startswith(("v4.", "v5."))

    async def send(self, channel: int, data: bytes) -> None:
        """Send bytes on a channel."""
        if self.is_text:
            await self.socket.send_str(chr(48 + channel) + base64.b64encode(data).decode())
        else:
            await self.socket.send_bytes(bytes([channel]) + data)

    async def finish(self, status: Object) -> None:
        """Send the final status and close."""
        if self.has_status:
            await self.send(ERROR, json.dumps(status, separators=(",", ":")).encode())
        elif status["status"] != "Success":
            await self.send(ERROR, status["message"].encode())
        await self.socket.close(code=1000)

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame's channel and bytes; None when the client is gone."""
        # What a frame holds follows from the protocol: the Python client sends text in text frames.
        data = payload(await self.socket.receive())
        if data is None:
            return None
        if not data:
            return STDIN, b""
        if not self.is_text:
            return data[0], data[1:]
        try:
            return data[0] - ord("0"), base64.b64decode(data[1:])
        except ValueError:
            return None


def success() -> Object:
    """Return the status of a command that ended with 0."""
    return {"metadata": {}, "status": "Success"}


def failure(code: int) -> Object:
    """Return the status of a command that ended with another code."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: "
        f"command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def internal_error(message: str) -> Object:
    """Return the status of a command that could not be started."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


async def execute(
    channels: Channels, runner: Container, argv: list[str], wanted: set[str], tty: bool
) -> None:
    """Run a command with its streams on the channels."""
    lowest = STDOUT if "stdout" in wanted else STDERR if "stderr" in wanted else ERROR
    if not wanted:
        await channels.send(ERROR, b"")
        text = "unable to upgrade connection: you must specify at least 1 of stdin, stdout, stderr"
        await channels.finish(internal_error(text))
        return
    await channels.send(lowest, b"")
    try:
        if tty:
            code = await _with_terminal(channels, runner, argv)
        else:
            code = await _with_pipes(channels, runner, argv, wanted)
    except (CannotRun, KeeperError) as error:
        text = f"Internal error occurred: error executing command in container: {error}"
        await channels.finish(internal_error(text))
        return
    except ConnectionError:
        return
    await channels.finish(failure(code) if code else success())


async def _with_pipes(
    channels: Channels, runner: Container, argv: list[str], wanted: set[str]
) -> int:
    null = os.open(os.devnull, os.O_RDWR)
    given: list[int] = [null]
    kept: dict[str, int] = {}
    streams = []
    for name in ("stdin", "stdout", "stderr"):
        if name not in wanted:
            streams.append(null)
            continue
        reading, writing = os.pipe()
        theirs, ours = (reading, writing) if name == "stdin" else (writing, reading)
        streams.append(theirs)
        given.append(theirs)
        kept[name] = ours
    try:
        command = await commands.start(runner, argv, (streams[0], streams[1], streams[2]))
    except BaseException:
        for number in kept.values():
            os.close(number)
        raise
    finally:
        for number in given:
            os.close(number)
    outputs = [
        asyncio.create_task(_send_output(channels, channel, kept[name]))
        for name, channel in (("stdout", STDOUT), ("stderr", STDERR))
        if name in kept
    ]
    feed = await _pipe_writer(kept["stdin"]) if "stdin" in kept else None
    return await _converse(channels, command, outputs, feed, lambda data: None)


async def _with_terminal(channels: Channels, runner: Container, argv: list[str]) -> int:
    master, slave = pty.openpty()
    try:
        command = await commands.start(runner, argv, (slave, slave, slave), tty=True)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)

    def resize(data: bytes) -> None:
        with contextlib.suppress(ValueError, KeyError, OSError):
            size = json.loads(data)
            packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
            fcntl.ioctl(master, termios.TIOCSWINSZ, packed)

    writing = os.dup(master)
    feed = await _pipe_writer(writing)
    outputs = [asyncio.create_task(_send_output(channels, STDOUT, master))]
    return await _converse(channels, command, outputs, feed, resize)


async def _pipe_writer(number: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(number, "wb", 0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _send_output(channels: Channels, channel: int, number: int) -> None:
    """Send what a pipe or terminal gives until its end."""
    loop = asyncio.get_running_loop()
    os.set_blocking(number, False)
    try:
        while True:
            try:
                data = os.read(number, _CHUNK)
            except BlockingIOError:
                ready = asyncio.Event()
                loop.add_reader(number, ready.set)
                try:
                    await ready.wait()
                finally:
                    loop.remove_reader(number)
                continue
            except OSError:
                return  # A terminal says so when its last user is gone.
            if not data:
                return
            await channels.send(channel, data)
    finally:
        os.close(number)


async def _converse(
    channels: Channels,
    command: commands.Command,
    outputs: list[asyncio.Task[None]],
    feed: asyncio.StreamWriter | None,
    resize: Callable[[bytes], None],
) -> int:
    """Pass frames until the command has ended; end it when the client goes away."""
    listener = asyncio.create_task(_listen(channels, feed, resize))
    ended = asyncio.create_task(command.code())
    try:
        await asyncio.wait([listener, ended], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            raise ConnectionError("the client has gone")
        # What the command left in the background may hold the streams open for ever.
        if outputs:
            await asyncio.wait(outputs, timeout=_DRAIN_SECONDS)
        return ended.result()
    finally:
        for task in [listener, ended, *outputs]:
            task.cancel()
        await asyncio.gather(listener, ended, *outputs, return_exceptions=True)
        if feed:
            feed.close()
        command.kill()


async def _listen(
    channels: Channels, feed: asyncio.StreamWriter | None, resize: Callable[[bytes], None]
) -> None:
    while (frame := await channels.receive()) is not None:
        channel, data = frame
        if channel == STDIN and feed and not feed.is_closing():
            with contextlib.suppress(ConnectionError):
                feed.write(data)
                await feed.drain()
        elif channel == RESIZE:
            resize(data)
        elif channel == CLOSE and data[:1] == b"\0" and feed:
            feed.close()
            feed = None


async def forward(socket: web.WebSocketResponse, address: str, ports: list[int]) -> None:
    """Join the channel pairs of a WebSocket with connections to a pod's ports."""
    channels = WebSocketChannels(socket, "v4.channel.k8s.io")
    writers: list[asyncio.StreamWriter | None] = []
    readers: list[asyncio.Task[None]] = []
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await channels.send(channel, struct.pack("<H", port))
        try:
            reader, writer = await asyncio.open_connection(*reach(address, port))
        except OSError as error:
            text = f"an error occurred forwarding {port}: {error.strerror or error}"
            await channels.send(2 * index + 1, text.encode())
            writers.append(None)
            continue
        writers.append(writer)
        readers.append(asyncio.create_task(_return(channels, 2 * index, reader)))
    listener = asyncio.create_task(_spread(channels, writers))
    try:
        if readers:
            everything = asyncio.ensure_future(asyncio.wait(readers))
            gone = asyncio.ensure_future(asyncio.wait([listener]))
            await asyncio.wait([gone, everything], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
    finally:
        for task in [listener, *readers]:
            task.cancel()
        await asyncio.gather(listener, *readers, return_exceptions=True)
        for each in writers:
            if each:
                each.close()
        await socket.close(code=1000)


async def _return(channels: WebSocketChannels, channel: int, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_CHUNK):
        await channels.send(channel, data)


async def _spread(channels: WebSocketChannels, writers: list[asyncio.StreamWriter | None]) -> None:
    while (frame := await channels.receive()) is not None:
        channel, data = frame
        writer = writers[channel // 2] if channel // 2 < len(writers) else None
        if channel % 2 == 0 and writer:
            writer.write(data)
            await writer.drain()
