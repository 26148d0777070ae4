"""The RESTServers a load balancer knows: who is healthy, who has least to do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from labapps.deployment.upstream import Upstream
from labapps.member.names import address

__all__ = ["Backend", "Backends"]

log = logging.getLogger(__name__)
CHECK = b"GET /health HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"


@dataclass(eq=False)
class Backend:
    """One RESTServer."""

    host: str
    port: int
    up: bool = False
    leaving: bool = False
    reason: str = "not checked yet"
    active: int = 0
    total: int = 0
    failures: int = 0
    idle: list[Upstream] = field(default_factory=list)
    since: float = field(default_factory=time.time)

    def describe(self) -> dict[str, Any]:
        state = "leaving" if self.leaving else "up" if self.up else "down"
        return {
            "server": f"{self.host}:{self.port}",
            "state": state,
            "reason": "" if self.up else self.reason,
            "active": self.active,
            "total": self.total,
            "failures": self.failures,
            "since": round(self.since),
        }

    def mark(self, up: bool, reason: str = "") -> None:
        """Note whether requests may be sent here."""
        if up != self.up:
            self.since = time.time()
            log.info("%s:%d is %s %s", self.host, self.port, "up" if up else "down", reason)
        self.up, self.reason = up, reason

    async def connect(self) -> tuple[Upstream, bool]:
        """Return a connection, and whether it was used before."""
        while self.idle:
            upstream = self.idle.pop()
            if upstream.usable:
                return upstream, True
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(2.0):
            ip, port = await address(self.host, self.port)
            _, upstream = await loop.create_connection(Upstream, ip, port)
        return upstream, False

    def release(self, upstream: Upstream) -> None:
        """Take a connection back."""
        if upstream.usable and not self.leaving and len(self.idle) < 64:
            self.idle.append(upstream)
        else:
            upstream.close()

    def close(self) -> None:
        """Drop what is idle; what is under way goes on."""
        self.leaving = True
        for upstream in self.idle:
            upstream.close()
        self.idle.clear()


class Backends:
    """Every RESTServer of the cluster."""

    def __init__(self, port: int, every: float = 0.5) -> None:
        self.port, self.every = port, every
        self.all: dict[str, Backend] = {}
        self.leaving: list[Backend] = []
        self.changed = asyncio.Event()

    def replace(self, hosts: Iterable[str]) -> None:
        """Serve from these hosts from now on; those that go finish what they have."""
        wanted = list(hosts)
        for host in [h for h in self.all if h not in wanted]:
            backend = self.all.pop(host)
            backend.close()
            self.leaving.append(backend)
            log.info("%s leaves with %d requests under way", host, backend.active)
        for host in wanted:
            if host not in self.all:
                self.all[host] = Backend(host, self.port)
        self.leaving = [b for b in self.leaving if b.active]

    def choose(self, without: Iterable[Backend] = ()) -> Backend | None:
        """Return the healthy server with least to do."""
        tried = set(without)
        best: Backend | None = None
        for backend in self.all.values():
            if backend.up and backend not in tried:
                busy = (backend.active, backend.total)
                if best is None or busy < (best.active, best.total):
                    best = backend
        return best

    async def watch(self) -> None:
        """Check the health of every server, for ever."""
        while True:
            self.changed.clear()
            await asyncio.gather(*(self.check(b) for b in list(self.all.values())))
            # Look more often while somebody is down: it is about to start.
            down = not all(b.up for b in self.all.values())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), 0.1 if down else self.every)

    async def check(self, backend: Backend) -> None:
        """Ask one server how it is."""
        try:
            async with asyncio.timeout(2.0):
                ip, port = await address(backend.host, backend.port)
                reader, writer = await asyncio.open_connection(ip, port)
                try:
                    writer.write(CHECK % backend.host.encode())
                    status = (await reader.readline()).split(b" ", 2)
                    text = (await reader.read(4096)).rpartition(b"\r\n\r\n")[2]
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("%s could not be checked: %s", backend.host, error)
                return
            backend.mark(False, f"{type(error).__name__}: {error}".rstrip(": "))
            return
        ok = len(status) > 1 and status[1] == b"200"
        backend.mark(ok, "" if ok else text.decode("utf-8", "replace"))
