"""The node agent's HTTPS endpoint, with the paths of a kubelet.

Contract with the API server, ours or a real one:

- The Node's `status.addresses` has InternalIP 127.0.0.1, and
  `status.daemonEndpoints.kubeletEndpoint.Port` is this endpoint's port.
- TLS. The certificate served is signed by the cluster's authority (`DIR/pki/ca.crt`; self-signed
  where that key is not ours). The client must show a certificate of that authority with
  O=system:masters or CN=kube-apiserver-kubelet-client; anybody else gets 401 or 403, so a tenant's
  user cannot come in through this door.
- `GET /containerLogs/{ns}/{pod}/{container}?follow=&previous=&tailLines=&sinceSeconds=&sinceTime=
  &timestamps=&limitBytes=` answers text/plain, chunked.
- `GET /exec/{ns}/{pod}/{container}?command=a&command=b&input=1&output=1&error=1&tty=1` upgrades to
  a WebSocket (stdin, stdout, stderr are understood as well as a kubelet's input, output, error).
  Subprotocols: v5.channel.k8s.io, v4.channel.k8s.io, v4.base64.channel.k8s.io, channel.k8s.io,
  base64.channel.k8s.io or none. The API server passes frames on byte for byte.
- `GET /attach/{ns}/{pod}/{container}` likewise, output only.
- `GET /portForward/{ns}/{pod}?port=80` upgrades to a WebSocket of v4.channel.k8s.io.
- exec, attach and portForward upgrade to SPDY/3.1 as well, by POST or GET, as kubectl up to 1.30
  and a real API server ask kubelets (`X-Stream-Protocol-Version`); portForward also to SPDY within
  a WebSocket (SPDY/3.1+portforward.k8s.io), as newer kubectls ask.

- `GET /stats/summary` answers what the node and its running containers use, as JSON.

Errors are text/plain: 404 for an unknown pod, 400 for a log or container that is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from labsandbox import certificates, whole
from labsandbox.node import journal, logs, pipes, spdy, streams, tunnels
from labsandbox.node.logs import LogOptions
from labsandbox.node.records import RUNNING, WAITING
from labsandbox.node.roles import Container, Node, Pod
from labsandbox.node.usage import Usage

_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_STREAM_WORDS = {
    "stdin": ("stdin", "input"),
    "stdout": ("stdout", "output"),
    "stderr": ("stderr", "error"),
    "tty": ("tty",),
}


def is_true(text: str | None) -> bool:
    """Read a boolean as the API does: all but nothing, 0 and false is true."""
    return text is not None and text.lower() not in ("", "0", "false")


class Server:
    """Answers the API server about the node's pods."""

    def __init__(self, agent: Node, usage: Usage) -> None:
        self.agent, self.usage = agent, usage
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen on a free port and return it."""
        application = web.Application(middlewares=[self._authorise])
        application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/stats/summary", self._summary),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._logs),
                web.get("/exec/{namespace}/{pod}/{container}", self._exec),
                web.post("/exec/{namespace}/{pod}/{container}", self._exec),
                web.get("/attach/{namespace}/{pod}/{container}", self._attach),
                web.post("/attach/{namespace}/{pod}/{container}", self._attach),
                web.get("/portForward/{namespace}/{pod}", self._forward),
                web.post("/portForward/{namespace}/{pod}", self._forward),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls())
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening and end all streams."""
        if self._runner:
            await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext:
        pki = self.agent.state / "pki"
        hosts = ("127.0.0.1", "localhost", self.agent.name)
        if (pki / "ca.key").exists():
            context = certificates.server_context(pki, "kubelet", hosts)
        else:
            # as a kubelet does where the cluster's authority is out of reach
            context = certificates.context_of(certificates.issue(self.agent.name, None, hosts))
        authority = self.agent.settings.client_ca or pki / "ca.crt"
        if authority.exists():
            context.load_verify_locations(cafile=authority)
        else:
            context.load_verify_locations(cadata=self.agent.client.access.ca_pem)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    @web.middleware
    async def _authorise(self, request: web.Request, handler: Any) -> web.StreamResponse:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        subject = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
        if ("organizationName", "system:masters") not in subject and (
            "commonName",
            "kube-apiserver-kubelet-client",
        ) not in subject:
            raise web.HTTPForbidden(
                text="Only the API server may ask the node agent; go through the Kubernetes API.\n"
            )
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _summary(self, request: web.Request) -> web.Response:
        return web.json_response(self.usage.summary())

    def _pod(self, request: web.Request) -> Pod:
        wanted = request.match_info["namespace"], request.match_info["pod"]
        for worker in self.agent.workers.values():
            if (worker.record.namespace, worker.record.name) == wanted:
                return worker
        raise web.HTTPNotFound(text=f'pod "{wanted[1]}" does not exist on this node\n')

    def _container(self, request: web.Request) -> Container:
        worker, name = self._pod(request), request.match_info["container"]
        if name not in worker.runners:
            raise web.HTTPBadRequest(
                text=f'container "{name}" is not valid for pod "{worker.record.name}"\n'
            )
        return worker.runners[name]

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        runner, query = self._container(request), request.query
        path = self._log_file(runner, is_true(query.get("previous")))
        options = LogOptions(
            tail=int(query["tailLines"]) if "tailLines" in query else None,
            since=_since(query.get("sinceSeconds"), query.get("sinceTime")),
            has_timestamps=is_true(query.get("timestamps")),
            limit=int(query["limitBytes"]) if "limitBytes" in query else None,
            is_following=is_true(query.get("follow")) and not is_true(query.get("previous")),
        )
        attempt = runner.record.attempt
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)

        def is_over() -> bool:
            record = runner.record
            return record.state != RUNNING or record.attempt != attempt

        with contextlib.suppress(ConnectionError):
            async for chunk in logs.read(path, options, is_over):
                await answer.write(chunk)
            await answer.write_eof()
        return answer

    def _log_file(self, runner: Container, is_previous: bool) -> Path:
        record, pod = runner.record, runner.pod.record.name
        attempt = record.attempt - 1 if is_previous else record.attempt
        if is_previous and attempt < 0:
            raise web.HTTPBadRequest(
                text=f'previous terminated container "{runner.name}" in pod "{pod}" not found\n'
            )
        if attempt < 0:
            reason = record.reason if record.state == WAITING else "ContainerCreating"
            what = "trying and failing to pull image" if "Image" in reason else reason
            raise web.HTTPBadRequest(
                text=f'container "{runner.name}" in pod "{pod}" is waiting to start: {what}\n'
            )
        return runner.place.log(attempt)

    async def _websocket(
        self, request: web.Request, known: tuple[str, ...]
    ) -> tuple[web.WebSocketResponse, str]:
        """Upgrade to a WebSocket, or refuse subprotocols nobody here speaks."""
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        asked = [word.strip() for word in offered.split(",") if word.strip()]
        chosen = next((word for word in asked if word in known), None)
        if asked and chosen is None:
            raise web.HTTPForbidden(text="")
        socket = web.WebSocketResponse(
            protocols=(chosen,) if chosen else (), max_msg_size=64 * 1024 * 1024
        )
        await socket.prepare(request)
        return socket, chosen or ""

    async def _open(
        self, request: web.Request, wanted: set[str]
    ) -> tuple[streams.Channels, web.StreamResponse]:
        """Upgrade to whatever the client speaks; return its channels and what to answer."""
        kind = request.headers.get("Upgrade", "").lower()
        if kind == "websocket":
            socket, chosen = await self._websocket(request, streams.PROTOCOLS)
            return streams.WebSocketChannels(socket, chosen), socket
        if not kind.startswith("spdy/3"):
            raise web.HTTPBadRequest(text="Upgrade request required\n")
        version = _choose(request, tunnels.EXEC_VERSIONS)
        pipe = pipes.take_over(request, {tunnels.VERSION_HEADER: version})
        channels = tunnels.SpdyChannels(pipe, version)
        try:
            await channels.open(wanted | {"error"})
        except (OSError, TimeoutError, spdy.ProtocolError):
            await pipe.close()
            raise
        return channels, pipes.Hijacked()

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        runner = self._running(request)
        argv = request.query.getall("command", [])
        if not argv:
            raise web.HTTPBadRequest(text="you must specify at least one command\n")
        wanted = {name for name in _STREAM_WORDS if name != "tty" and _asks(request, name)}
        tty = _asks(request, "tty")
        wanted -= {"stderr"} if tty else set()
        channels, answer = await self._open(request, wanted | ({"resize"} if tty else set()))
        await streams.execute(channels, runner, argv, wanted, tty)
        return answer

    def _running(self, request: web.Request) -> Container:
        runner = self._container(request)
        if runner.record.state != RUNNING:
            raise web.HTTPInternalServerError(text=f'container not found ("{runner.name}")\n')
        return runner

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        runner = self._running(request)
        names = ("stdin", "stdout", "stderr")
        channels, answer = await self._open(request, {n for n in names if _asks(request, n)})
        await channels.send(streams.STDOUT, b"")
        if _asks(request, "stdin"):
            # differs: a container's input is empty; there is nothing to attach to but its output.
            text = "attach cannot send input on this platform; use kubectl exec -it instead"
            await channels.finish(streams.internal_error(text))
            return answer
        path, attempt = runner.place.log(runner.record.attempt), runner.record.attempt
        options = LogOptions(tail=0, is_following=True)
        end = asyncio.create_task(channels.receive())

        def is_over() -> bool:
            record = runner.record
            return end.done() or record.state != RUNNING or record.attempt != attempt

        with contextlib.suppress(ConnectionError):
            async for chunk in logs.read(path, options, is_over):
                await channels.send(streams.STDOUT, chunk)
            end.cancel()
            await channels.finish(streams.success())
        return answer

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        worker = self._pod(request)
        kind = request.headers.get("Upgrade", "").lower()
        if kind.startswith("spdy/3"):
            headers = {tunnels.VERSION_HEADER: _choose(request, (tunnels.FORWARD_VERSION,))}
            pipe = pipes.take_over(request, headers)
            await tunnels.Forwarding(pipe, worker.record.address).run()
            return pipes.Hijacked()
        if kind != "websocket":
            raise web.HTTPBadRequest(text="Upgrade request required\n")
        words = [*request.query.getall("port", []), *request.query.getall("ports", [])]
        ports = [whole.read(part) for word in words for part in word.split(",")]
        ports = [port for port in ports if 0 < port < 65536]
        is_tunnel = _TUNNEL in request.headers.get("Sec-WebSocket-Protocol", "")
        if not ports and not is_tunnel:
            raise web.HTTPBadRequest(text='query parameter "port" is required\n')
        socket, chosen = await self._websocket(request, (_TUNNEL, *streams.PROTOCOLS))
        if chosen == _TUNNEL:
            await tunnels.Forwarding(pipes.SocketPipe(socket), worker.record.address).run()
        else:
            await streams.forward(socket, worker.record.address, ports)
        return socket


def _choose(request: web.Request, known: tuple[str, ...]) -> str:
    """Return the first version of a stream protocol both sides speak."""
    offered = request.headers.getall(tunnels.VERSION_HEADER, [])
    asked = [word.strip() for line in offered for word in line.split(",") if word.strip()]
    found = next((word for word in known if word in asked), None)
    if asked and found is None:
        raise web.HTTPForbidden(text=f"unable to negotiate protocol: known are {list(known)}\n")
    return found or known[-1]


def _asks(request: web.Request, name: str) -> bool:
    return any(is_true(request.query.get(word)) for word in _STREAM_WORDS[name])


def _since(seconds: str | None, moment: str | None) -> str | None:
    if seconds:
        return journal.stamp(time.time_ns() - int(seconds) * 1_000_000_000).decode()
    if moment:
        return journal.stamp(int(datetime.fromisoformat(moment).timestamp() * 1e9)).decode()
    return None
