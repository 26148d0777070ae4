"""exec, attach, port-forward: the connection itself is handed on, byte for byte."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, urlencode

from labsandbox.apiserver import admission
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, bad_request
from labsandbox.apiserver.streams.target import Node, find_container, find_node, find_pod
from labsandbox.apiserver.streams.wire import Answer, ask

_PIECE = 64 * 1024
_PASSED = ("upgrade", "sec-websocket-version", "sec-websocket-key", "sec-websocket-extensions",
           "x-stream-protocol-version")  # fmt: skip
_RETURNED = ("upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol",
             "x-stream-protocol-version")  # fmt: skip
_PATHS = {"exec": "exec", "attach": "attach", "portforward": "portForward"}
_WORDS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_BEARER = "base64url.bearer.authorization.k8s.io."


def _target(request: Request, container: str) -> str:
    parts = [_PATHS[request.subresource], request.namespace, request.name]
    query: list[tuple[str, str]] = []
    if request.subresource == "portforward":
        for value in request.query.get("ports", ()):
            query += [("port", port) for port in value.split(",") if port]
    else:
        parts.append(container)
        query += [("command", word) for word in request.query.get("command", ())]
        query += [(kubelet, "1") for word, kubelet in _WORDS.items() if request.flag(word)]
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(query)}" if query else path


def _headers(request: Request) -> list[tuple[str, str]]:
    found = [("Connection", "Upgrade")]
    # Not from `request.headers`: SPDY clients offer each of their versions in a line of its own.
    for raw_name, raw_value in request.scope["headers"]:
        name = raw_name.decode("latin-1")
        if name in _PASSED:
            found.append((name, raw_value.decode("latin-1")))
    offered = request.headers.get("sec-websocket-protocol")
    if offered is not None:
        kept = [p.strip() for p in offered.split(",") if not p.strip().startswith(_BEARER)]
        if kept:
            found.append(("Sec-WebSocket-Protocol", ", ".join(kept)))
    return found


def _wants_upgrade(request: Request) -> bool:
    connection = request.headers.get("connection", "").lower()
    return "upgrade" in connection and bool(request.headers.get("upgrade"))


async def open_tunnel(api: Api, request: Request, resource: ResourceDef) -> Response | None:
    """Connect the client with the node's agent."""
    pod = find_pod(api, request, resource)
    connection = admission.Request(
        "CONNECT", resource, request.namespace, request.name, None, None, request.user,
        request.subresource, warnings=request.warnings,
    )  # fmt: skip
    await api.admission.admit(connection)
    container = ""
    if request.subresource != "portforward":
        container = find_container(pod, request.first("container"))
    node = find_node(api, resource, pod)
    if node is None:
        raise bad_request(f"pod {request.name} does not have a host assigned")
    if not _wants_upgrade(request):
        raise bad_request("Upgrade request required")
    return await _connect(api, request, node, container)


# differs: v5.channel.k8s.io is passed on to the node's agent, where a real server asks a kubelet by
# SPDY and translates; what the agent refuses with 400, 404 or 5xx is answered with a Status, where
# a real server upgrades and says it on the error channel.
async def _connect(api: Api, request: Request, node: Node, container: str) -> Response | None:
    answer = await ask(api, node, request.method, _target(request, container), _headers(request))
    if answer.status == 101:
        await _Tunnel(request, answer).run()
        return None
    body = await answer.text()
    answer.close()
    connection = request.connection
    if connection is not None:
        connection.cycle.keep_alive = False
    is_portless = request.subresource == "portforward" and answer.status == 400
    if answer.status == 403 or is_portless:
        return _passed_on(answer.status, body)
    code = answer.status if answer.status in (400, 404, 501) else 500
    reason = {400: "BadRequest", 404: "NotFound", 501: "NotImplemented"}.get(code, "InternalError")
    raise StatusError(code, reason, body.strip() or "the node agent refused the stream")


def _passed_on(status: int, body: str) -> Response:
    """A refusal in the node agent's own words."""
    headers = [(b"connection", b"close")]
    if not body:
        return Response(status, b"", "", headers, cache=b"")
    headers.append((b"x-content-type-options", b"nosniff"))
    return Response(status, body.encode(), "text/plain; charset=utf-8", headers, cache=b"")


class _Tunnel:
    """Copies bytes both ways until either side ends."""

    def __init__(self, request: Request, answer: Answer) -> None:
        self._connection: Any = request.connection
        self._answer = answer

    def _head(self) -> bytes:
        lines = [b"HTTP/1.1 101 Switching Protocols"]
        for key, value in self._answer.headers:
            if key.lower() in _RETURNED:
                lines.append(f"{key}: {value}".encode("latin-1"))
        return b"\r\n".join([*lines, b"", b""])

    async def run(self) -> None:
        connection, writer = self._connection, self._answer.writer
        cycle = connection.cycle
        cycle.response_started = cycle.response_complete = True
        connection.transport.write(self._head())
        connection.tunnel = self._from_client
        connection.on_lost = writer.close
        if connection.upgraded:
            writer.write(connection.upgraded)
        connection.transport.resume_reading()
        try:
            while piece := await self._answer.reader.read(_PIECE):
                connection.transport.write(piece)
                await connection.flow.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            connection.on_lost = None
            writer.close()
            connection.transport.close()

    def _from_client(self, data: bytes) -> None:
        writer = self._answer.writer
        if writer.is_closing():
            return
        writer.write(data)
        if writer.transport.get_write_buffer_size() > 4 * _PIECE:
            self._connection.transport.pause_reading()
            task = asyncio.get_running_loop().create_task(self._resume())
            self._connection.tasks.add(task)
            task.add_done_callback(self._connection.tasks.discard)

    async def _resume(self) -> None:
        try:
            await self._answer.writer.drain()
        except OSError:
            return
        if not self._connection.transport.is_closing():
            self._connection.transport.resume_reading()
