"""The stand-in kubelet's HTTPS endpoint: the commands and logs it had when areas were recorded.

It takes the paths and query words of a real kubelet only, and no client but the API server, so a
request our proxy writes wrongly is refused. The channels, the final status and the answer to a
closed stdin are the node agent's own (`labsandbox.node.streams`): what the recording holds of them
is compared with the product, while commands and their output belong to the stand-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import WSMsgType, web

from labsandbox import certificates
from labsandbox.node.streams import (
    CLOSE,
    ERROR,
    PROTOCOLS,
    STDERR,
    STDIN,
    STDOUT,
    WebSocketChannels,
    failure,
    internal_error,
    success,
)

HOST = "127.0.0.1"
CLIENT = "kube-apiserver-kubelet-client"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
STAMP = "2026-01-01T00:00:00.000000000Z"
FOLLOW_SECONDS = 0.1
LOG_WORDS = {
    "follow", "previous", "timestamps", "tailLines", "sinceSeconds", "sinceTime", "limitBytes",
}  # fmt: skip
EXEC_WORDS = {"command", "input", "output", "error", "tty"}
NO_STREAM = "unable to upgrade connection: you must specify at least 1 of stdin, stdout, stderr"
CANNOT_RUN = "Internal error occurred: error executing command in container: "

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint:
    """Listens as the kubelet of the stand-in node."""

    def __init__(self, pki: Path) -> None:
        self._pki = pki
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen on a free port and return it."""
        application = web.Application(middlewares=[_only_the_server])
        application.add_routes(
            [
                web.get("/containerLogs/{namespace}/{pod}/{container}", _logs),
                web.get("/exec/{namespace}/{pod}/{container}", _exec),
                web.get("/attach/{namespace}/{pod}/{container}", _attach),
                web.get("/portForward/{namespace}/{pod}", _forward),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        context = certificates.server_context(self._pki, "stand-in-kubelet", (HOST, "fake"))
        context.load_verify_locations(cafile=self._pki / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        await web.TCPSite(self._runner, HOST, 0, ssl_context=context).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()


@web.middleware
async def _only_the_server(request: web.Request, handler: Handler) -> web.StreamResponse:
    transport = request.transport
    shown = (transport.get_extra_info("peercert") if transport else None) or {}
    subject = [pair for part in shown.get("subject", ()) for pair in part]
    if ("commonName", CLIENT) not in subject:
        raise web.HTTPForbidden(text=f"expected the certificate of {CLIENT}, found {subject}\n")
    return await handler(request)


def _check(request: web.Request, known: set[str]) -> None:
    unknown = set(request.query) - known
    if unknown:
        raise web.HTTPBadRequest(text=f"a kubelet does not know the words {sorted(unknown)}\n")


async def _logs(request: web.Request) -> web.StreamResponse:
    _check(request, LOG_WORDS)
    query = request.query
    lines = [f"line 1 of {request.match_info['pod']}/{request.match_info['container']}"]
    lines += ["line 2", "line 3"]
    if "tailLines" in query:
        lines = lines[len(lines) - int(query["tailLines"]) :]
    mark = f"{STAMP} " if query.get("timestamps") == "true" else ""
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    answer.enable_chunked_encoding()
    await answer.prepare(request)
    await answer.write("".join(f"{mark}{line}\n" for line in lines).encode())
    if query.get("follow") == "true":
        for number in range(3):
            await asyncio.sleep(FOLLOW_SECONDS)  # pause: a log that grows while it is followed
            await answer.write(f"follow {number}\n".encode())
    await answer.write_eof()
    return answer


async def _open(request: web.Request, known: tuple[str, ...]) -> web.WebSocketResponse:
    """Upgrade to a WebSocket of the first subprotocol both sides know."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPBadRequest(text="Upgrade request required\n")
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    asked = [word.strip() for word in offered.split(",") if word.strip()]
    chosen = [word for word in asked if word in known][:1]
    if asked and not chosen:
        raise web.HTTPForbidden(text="")
    socket = web.WebSocketResponse(protocols=chosen)
    if not asked:
        socket.headers["Sec-WebSocket-Protocol"] = ""  # as a kubelet writes it
    await socket.prepare(request)
    return socket


async def _start(request: web.Request) -> WebSocketChannels | None:
    """Open the channels of an exec or attach; None when none is wanted."""
    _check(request, EXEC_WORDS)
    socket = await _open(request, PROTOCOLS)
    channels = WebSocketChannels(socket, request.headers.get("Sec-WebSocket-Protocol", ""))
    wanted = {word for word in EXEC_WORDS if request.query.get(word) == "1"}
    lowest = STDOUT if "output" in wanted else STDERR if "error" in wanted else ERROR
    await channels.send(lowest, b"")
    if wanted - {"tty"}:
        return channels
    await channels.finish(internal_error(NO_STREAM))
    return None


async def _exec(request: web.Request) -> web.StreamResponse:
    channels = await _start(request)
    if channels is not None:
        status = await _run(channels, request.query.getall("command", []))
        await channels.finish(status)
        return channels.socket
    return web.Response()


async def _run(channels: WebSocketChannels, argv: list[str]) -> dict[str, object]:
    match argv:
        case []:
            pass
        case ["echo", *words]:
            await channels.send(STDOUT, " ".join(words).encode() + b"\n")
        case ["stderr", *words]:
            await channels.send(STDERR, " ".join(words).encode() + b"\n")
        case ["exit", code]:
            return failure(int(code))
        case ["cat"]:
            await _copy(channels)
        case ["readline"]:
            line = await _read_line(channels)
            await channels.send(STDOUT, b"got:" + line)
        case ["sleep", seconds]:
            # Somebody has to read meanwhile, or nobody answers a ping.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(seconds)):
                    await channels.receive()
        case _:
            text = f'exec: "{argv[0]}": executable file not found in $PATH'
            return internal_error(CANNOT_RUN + text)
    return success()


async def _copy(channels: WebSocketChannels) -> None:
    """Send stdin back until the client closes it."""
    while (frame := await channels.receive()) is not None:
        channel, data = frame
        if channel == STDIN:
            await channels.send(STDOUT, data)
        elif channel == CLOSE and data == bytes([STDIN]):
            return


async def _read_line(channels: WebSocketChannels) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (frame := await channels.receive()) is not None:
        line += frame[1] if frame[0] == STDIN else b""
    return line


async def _attach(request: web.Request) -> web.StreamResponse:
    channels = await _start(request)
    if channels is None:
        return web.Response()
    await channels.send(STDOUT, b"attached\n")
    await _copy(channels)
    await channels.finish(success())
    return channels.socket


async def _forward(request: web.Request) -> web.StreamResponse:
    _check(request, {"port"})
    ports = [int(word) for word in request.query.getall("port", [])]
    is_tunnel = TUNNEL in request.headers.get("Sec-WebSocket-Protocol", "")
    if not ports and not is_tunnel:
        raise web.HTTPBadRequest(text='query parameter "port" is required\n')
    socket = await _open(request, (TUNNEL, "v4.channel.k8s.io"))
    if is_tunnel:
        while (await socket.receive()).type is WSMsgType.BINARY:
            pass  # Only the handshake was recorded.
        return socket
    channels = WebSocketChannels(socket, "v4.channel.k8s.io")
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await channels.send(channel, struct.pack("<H", port))
    frame = await channels.receive()
    if frame is not None:
        path = frame[1].split(b" ")[1].decode()
        port = ports[frame[0] // 2]
        await channels.send(frame[0], _page(request.match_info["pod"], port, path))
    await socket.close(code=1000)
    return socket


def _page(pod: str, port: int, path: str) -> bytes:
    body = f"hello from {pod}:{port} {path}\n"
    head = ("HTTP/1.1 200 OK", "Content-Type: text/plain", f"Content-Length: {len(body)}")
    return "\r\n".join((*head, "Connection: close", "", body)).encode()
