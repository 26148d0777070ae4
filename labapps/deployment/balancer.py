"""A small HTTP load balancer in Python, for laptops: it needs no program beside the environment.

Least connections, health checks, no sticky sessions. It runs in one process on one core, speaks
HTTP/1.1 without TLS or upgrades and keeps a request in memory: a site with more load sets
BALANCER=haproxy. A request is read whole before it is sent on, so
it can be asked again elsewhere when a server goes away before its first byte of answer:
predictions may be asked twice. Nothing is asked again once an answer has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from typing import cast

import httptools
import orjson

from labapps.deployment.backends import Backend, Backends
from labapps.deployment.upstream import Upstream
from labapps.web.crowd import HEAD_SECONDS, RESERVED, Crowd, raise_limit

__all__ = ["Balancer"]

log = logging.getLogger(__name__)
HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"expect", b"content-length", b"te"}
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)
"""What keeps this process from connecting, whatever the server is like."""
PHRASES = {400: b"Bad Request", 413: b"Content Too Large", 502: b"Bad Gateway"}
PHRASES |= {503: b"Service Unavailable", 504: b"Gateway Timeout"}


class Balancer:
    """What all client connections share."""

    def __init__(self, backends: Backends, *, limit: int = 16 << 20, patience: float = 5.0) -> None:
        self.backends, self.limit, self.patience = backends, limit, patience
        self.timeout = 120.0
        self.fronts: set[Front] = set()
        # Each client may need one more descriptor, for its server.
        self.crowd = Crowd(max(16, (raise_limit() - RESERVED) // 2))
        self.retries = 0
        self.answers: dict[int, int] = {}
        self.draining = False
        self.server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Front(self), host, port, backlog=2048)

    async def drain(self, grace: float = 20.0) -> None:
        """Take no more connections, finish what is under way."""
        self.draining = True
        if self.server is not None:
            self.server.close()
        for front in list(self.fronts):
            front.close_when_idle()
        deadline = time.monotonic() + grace
        while self.fronts and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def forward(self, front: Front, data: bytes, *, head: bool) -> None:
        """Send one request to the best server; to another one if that goes away."""
        tried: list[Backend] = []
        deadline = time.monotonic() + self.patience
        while True:
            backend = self.backends.choose(tried)
            if backend is None:
                if time.monotonic() > deadline or (
                    not self.backends.all and time.monotonic() > deadline - self.patience + 1
                ):
                    front.refuse(503, self._no_server())
                    return
                tried.clear()  # one may have come back
                await asyncio.sleep(0.02)
                continue
            last = all(b in tried or b is backend for b in self.backends.all.values() if b.up)
            outcome = await self._ask(backend, front, data, head, last)
            if outcome == "done":
                return
            if outcome == "full":
                front.refuse(503, "The load balancer has too many open connections; try again.")
                return
            if outcome in ("broken", "gone"):
                front.abort()
                return
            if outcome == "timeout":
                front.refuse(504, f"{backend.host} gave no answer within {self.timeout:g} s.")
                return
            self.retries += 1
            tried.append(backend)

    async def _ask(
        self, backend: Backend, front: Front, data: bytes, head: bool, last: bool
    ) -> str:
        backend.active += 1
        upstream: Upstream | None = None
        try:
            upstream, reused = await backend.connect()
            if front.transport is None:
                backend.release(upstream)
                return "gone"
            answer = upstream.exchange(data, front.transport, head=head, last=last)
            front.upstream = upstream
            try:
                outcome = await asyncio.wait_for(answer, self.timeout)
            except TimeoutError:
                upstream.close()
                return "timeout"
            if outcome == "lost" and front.transport is None:
                return "gone"
            if outcome == "lost" and not reused:
                backend.failures += 1
                backend.mark(False, "it closed the connection")
                self.backends.changed.set()
            if outcome in ("done", "unknown"):
                backend.total += 1
                self.answers[upstream.status] = self.answers.get(upstream.status, 0) + 1
                backend.release(upstream)
            return outcome
        except (OSError, TimeoutError) as error:
            if isinstance(error, OSError) and error.errno in OURS:
                log.error("no connection to %s: %s", backend.host, error)
                return "full"
            backend.failures += 1
            backend.mark(False, f"{type(error).__name__}: {error}")
            self.backends.changed.set()
            return "lost"
        finally:
            front.upstream = None
            backend.active -= 1

    def _no_server(self) -> str:
        reasons = [f"{b.host}: {b.reason}" for b in self.backends.all.values()]
        return "No RESTServer is ready. " + ("; ".join(reasons) or "The role has no members.")


class Front(asyncio.Protocol):
    """One client connection; its requests are answered in order."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.transport: asyncio.Transport | None = None
        self.upstream: Upstream | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.requests: asyncio.Queue[tuple[bytes, bool, bool] | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
        self.busy = False
        self.rejected = False
        self.head_timer: asyncio.TimerHandle | None = None
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.balancer.fronts.add(self)
        self.balancer.crowd.enter(self)
        self._expect_head()
        peer = self.transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.balancer.fronts.discard(self)
        self.balancer.crowd.leave(self)
        self._stop_timer()
        if self.upstream is not None:
            self.upstream.close()  # the client is gone: its server need not go on
        self.requests.put_nowait(None)

    # -- parsing ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.rejected:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reject(400, "This server speaks HTTP/1.1 without upgrades.")
        except httptools.HttpParserError as error:
            if not self.rejected:
                self._reject(400, f"The request is not HTTP/1.1: {error}.")

    def _expect_head(self) -> None:
        if self.head_timer is None:
            loop = asyncio.get_running_loop()
            self.head_timer = loop.call_later(HEAD_SECONDS, self.give_up)

    def _stop_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def give_up(self) -> None:
        """Close the connection: no request is under way on it."""
        if self.transport is not None:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self.balancer.crowd.busy(self)

    def on_message_begin(self) -> None:
        self._expect_head()
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.size = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-length" and int(value or 0) > self.balancer.limit:
            self._too_large(int(value))
        elif lower == b"expect" and not self.rejected and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if lower not in HOP:
            self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        if self.size > self.balancer.limit:
            self._too_large(self.size)
        elif not self.rejected:
            self.body.append(body)

    def on_message_complete(self) -> None:
        if self.rejected:
            return
        method = self.parser.get_method()
        lines = [method + b" " + self.url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers]
        lines.append(b"X-Forwarded-For: " + self.peer.encode())
        lines.append(b"Content-Length: %d\r\n\r\n" % self.size)
        data = b"\r\n".join(lines) + b"".join(self.body)
        self.requests.put_nowait((data, method == b"HEAD", self.parser.should_keep_alive()))

    # -- answering --------------------------------------------------------------------------

    async def _serve(self) -> None:
        while (request := await self.requests.get()) is not None:
            data, head, keep = request
            self.busy = True
            await self.balancer.forward(self, data, head=head)
            self.busy = False
            if self.transport is None:
                return
            if self.requests.empty():
                self.balancer.crowd.rest(self)
            if not keep or self.balancer.draining:
                self.transport.close()
                return

    def _too_large(self, size: int) -> None:
        limit = self.balancer.limit
        self._reject(413, f"The body has {size} bytes or more; at most {limit} are taken.")

    def _reject(self, status: int, text: str) -> None:
        """Answer a request that is not even read to its end."""
        if self.rejected:
            return
        self.rejected = True
        self.refuse(status, text)
        if self.transport is not None:
            # The client may still be sending: let it see the answer before the connection ends.
            asyncio.get_running_loop().call_later(1.0, self.abort)

    def refuse(self, status: int, text: str) -> None:
        """Answer without a server."""
        if self.transport is None:
            return
        self.balancer.answers[status] = self.balancer.answers.get(status, 0) + 1
        body = orjson.dumps({"error": text})
        close = b"Connection: close\r\n" if self.rejected else b"Retry-After: 1\r\n"
        head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        phrase = PHRASES.get(status, b"Error")
        with contextlib.suppress(OSError):
            self.transport.write(head % (status, phrase, close, len(body)) + body)

    def abort(self) -> None:
        """End the connection: its answer can no longer be completed."""
        if self.transport is not None:
            self.transport.close()

    def close_when_idle(self) -> None:
        if not self.busy and self.requests.empty():
            self.abort()
