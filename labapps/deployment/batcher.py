"""Hold the worker process of one model and send it what waits, as one batch at a time.

While the worker computes, requests gather; nobody waits for a clock. A worker that dies or hangs
is replaced. Its requests are asked again one by one, so that only the one that kills it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import orjson

from labapps.deployment import frames
from labapps.deployment.spec import ModelSpec, SpecError
from labapps.forks.client import Child, ForkError, Zygote
from labapps.web.asgi import Problem

__all__ = ["Batcher"]

log = logging.getLogger(__name__)
BATCH = 128
BATCH_BYTES = 1 << 20
QUEUE = 4096


@dataclass
class Waiting:
    kind: int
    body: bytes
    reply: asyncio.Future[tuple[int, bytes]]
    alone: bool = False


class Batcher(asyncio.Protocol):
    """The server's end of one model's worker."""

    def __init__(
        self,
        spec: ModelSpec,
        zygote: Zygote,
        mappings: dict[str, str],
        *,
        timeout: float = 30.0,
        load_timeout: float = 60.0,
        on_batch: Callable[[int], None] = lambda size: None,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self.spec, self.zygote, self.mappings = spec, zygote, mappings
        self.timeout, self.load_timeout = timeout, load_timeout
        self.on_batch, self.on_restart = on_batch, on_restart
        self.about: dict[str, Any] = {}
        self.waiting: deque[Waiting] = deque()
        self.sent: list[Waiting] = []
        self.child: Child | None = None
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.greeting: asyncio.Future[dict[str, Any]] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.scheduled = self.ready = self.closed = self.hung = False
        self.respawning: asyncio.Task[None] | None = None
        self.idle = asyncio.Event()
        self.idle.set()

    # -- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Fork the worker and wait until it has loaded; SpecError says why it has not."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        spec = self.spec
        args = {
            "name": spec.name,
            "version": spec.version,
            "path": spec.path,
            "format": spec.format,
            "scoring": spec.scoring if spec.contract == "functions" else "",
            "features": list(spec.features),
            "mappings": self.mappings,
            "registered": spec.registered,
            "options": spec.options(),
            "digests": list(spec.digests),
        }
        self.greeting = loop.create_future()
        self.buffer.clear()
        with theirs:
            try:
                call = "labapps.deployment.worker:serve"
                self.child = await self.zygote.fork(call, args, [theirs.fileno()])
            except ForkError as error:
                ours.close()
                raise SpecError(str(error)) from error
        await loop.create_connection(lambda: self, sock=ours)
        try:
            about = await asyncio.wait_for(asyncio.shield(self.greeting), self.load_timeout)
        except TimeoutError:
            about = {"ok": False, "error": f"loading took longer than {self.load_timeout:g} s"}
        if not about["ok"]:
            self._drop()
            raise SpecError(f"{spec.label} does not load: {about['error']}")
        self.about = about
        self.ready = True
        self._schedule()

    async def close(self, grace: float = 30.0) -> None:
        """Answer what is under way, then end the worker."""
        self.closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.idle.wait(), grace)
        self._drop()
        if self.respawning is not None:
            self.respawning.cancel()
        self._fail(Problem(503, "The model was removed."))

    def _drop(self) -> None:
        self.ready = False
        child, self.child = self.child, None
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
        if child is not None:
            child.kill()

    # -- requests ---------------------------------------------------------------------------

    def submit(self, kind: int, body: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Queue a request; the future is its status and body."""
        if len(self.waiting) >= QUEUE:
            raise Problem(503, f"{QUEUE} requests wait for {self.spec.label}; try again later.")
        reply: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.waiting.append(Waiting(kind, body, reply))
        self.idle.clear()
        self._schedule()
        return reply

    def _schedule(self) -> None:
        if not self.scheduled and self.ready and not self.sent:
            self.scheduled = True
            # After all requests that arrived in this turn of the loop: they share the batch.
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self.scheduled = False
        if not self.ready or self.sent or self.transport is None:
            return
        batch, size = self.sent, 0
        while self.waiting and len(batch) < BATCH and size < BATCH_BYTES:
            if batch and (batch[0].alone or self.waiting[0].alone):
                break
            item = self.waiting.popleft()
            if item.reply.cancelled():
                continue
            batch.append(item)
            size += len(item.body)
        if not batch:
            if not self.waiting:
                self.idle.set()
            return
        self.on_batch(len(batch))
        self.transport.write(frames.pack([(item.kind, item.body) for item in batch]))
        self.timer = asyncio.get_running_loop().call_later(self.timeout, self._hang)

    def _hang(self) -> None:
        log.warning("%s: no answer within %g s; its worker ends", self.spec.label, self.timeout)
        self.hung = True
        if self.child is not None:
            self.child.kill()

    # -- the worker's side ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        need = frames.length(buffer)
        if need is None or len(buffer) < need:
            return
        parts = frames.unpack(buffer)
        buffer.clear()
        if self.greeting is not None and not self.greeting.done():
            self.greeting.set_result(orjson.loads(parts[0][1]))
            return
        if self.timer is not None:
            self.timer.cancel()
        sent, self.sent = self.sent, []
        for item, part in zip(sent, parts, strict=True):
            if not item.reply.done():
                item.reply.set_result(part)
        if self.waiting:
            self._schedule()
        else:
            self.idle.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.greeting is not None and not self.greeting.done():
            self.greeting.set_result({"ok": False, "error": "its process ended while loading"})
        if not self.ready:
            return
        self.ready = False
        self.transport = None
        if self.timer is not None:
            self.timer.cancel()
        self._retry_alone()
        self.respawning = asyncio.get_running_loop().create_task(self._respawn())

    def _retry_alone(self) -> None:
        sent, self.sent = self.sent, []
        hung, self.hung = self.hung, False
        for item in reversed(sent):
            if not item.alone and (len(sent) > 1 or not hung):
                item.alone = True
                self.waiting.appendleft(item)
            elif not item.reply.done():
                label = self.spec.label
                item.reply.set_result(
                    _problem(504, f"{label} gave no answer within {self.timeout:g} s.")
                    if hung
                    else _problem(500, f"The process of {label} ends whenever it gets this.")
                )

    async def _respawn(self) -> None:
        """Put a new worker in the place of one that ended."""
        delay, began = 0.0, time.monotonic()
        while not self.closed or self.waiting:
            try:
                await asyncio.sleep(delay)
                await self.start()
            except SpecError as error:
                log.error("%s: %s", self.spec.label, error)
                self._fail(Problem(503, f"The worker ended and cannot be started again: {error}"))
                delay = min(5.0, delay * 2 + 0.2)
                continue
            self.on_restart()
            seconds = time.monotonic() - began
            log.warning("%s: new worker after %.2f s", self.spec.label, seconds)
            return

    def _fail(self, problem: Problem) -> None:
        for item in [*self.sent, *self.waiting]:
            if not item.reply.done():
                item.reply.set_result((problem.status, orjson.dumps(problem.body)))
        self.sent, self.waiting = [], deque()
        self.idle.set()


def _problem(status: int, text: str) -> tuple[int, bytes]:
    return status, orjson.dumps({"error": text})
