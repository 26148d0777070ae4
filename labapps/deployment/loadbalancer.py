"""The role LoadBalancer: 32700 spreads requests over the RESTServers, 8081 shows how.

BALANCER chooses between the balancer of `balancer.py`, which every laptop runs, and haproxy, which
the container image sets. A program that happens to be installed chooses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

from labapps.deployment.backends import Backends
from labapps.deployment.balancer import Balancer
from labapps.deployment.haproxy import Haproxy
from labapps.member import applied
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.names import address
from labapps.member.place import Place
from labapps.web.asgi import Problem, Reply, Request
from labapps.web.server import bind, reply_with, serve

__all__ = ["choose", "run"]

log = logging.getLogger(__name__)
OWN, HAPROXY = "own", "haproxy"
FRONT, API, STATS = 32700, 10001, 8081
SERVER_PORT = 10001


async def run(place: Place, meta: Configmeta) -> None:
    """Balance until SIGTERM."""
    backends = Backends(SERVER_PORT)
    limit = int(os.environ.get("BODY_LIMIT", 16 << 20))
    program = choose(os.environ)
    folder = place.path("/run/labapps")
    front, stats = place.port(FRONT), place.port(STATS)
    haproxy = Haproxy(program, folder, place.listen, front, stats, limit) if program else None
    balancer = Balancer(backends, limit=limit)
    if haproxy is None:
        await balancer.start(place.listen, place.port(FRONT))
    tasks = [
        asyncio.create_task(backends.watch()),
        asyncio.create_task(_follow(place, backends, haproxy)),
    ]
    status = Status(balancer)
    own = [API, STATS] if haproxy is None else [API]
    sockets = bind(place.listen, map(place.port, own))
    try:
        await serve(reply_with(status.handle), sockets, grace=2)
        await (balancer.drain() if haproxy is None else haproxy.stop())
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def choose(environment: Mapping[str, str]) -> str | None:
    """Return the path of haproxy when BALANCER names it, None for the balancer of our own."""
    chosen = environment.get("BALANCER", OWN)
    if chosen == OWN:
        return None
    if chosen != HAPROXY:
        sys.exit(f"Expected BALANCER to be {OWN} or {HAPROXY}; found {chosen!r}.")
    program = shutil.which(HAPROXY, path=environment.get("PATH"))
    if program is None:
        sys.exit(
            f"Expected the program {HAPROXY} on the PATH, because BALANCER={HAPROXY}; found none. "
            f"Install it in the image (labapps/Containerfile does), or set BALANCER={OWN}."
        )
    return program


async def _follow(place: Place, backends: Backends, haproxy: Haproxy | None) -> None:
    async for meta in follow(place.path(CONFIGMETA)):
        hosts = [member.host for member in meta.members("RESTServer")]
        backends.replace(hosts)
        backends.changed.set()
        if haproxy is not None:
            found = [(h.partition(".")[0], await _address(h)) for h in hosts]
            await haproxy.serve([(f"{name}-{n}", at) for n, (name, at) in enumerate(found)])
        if backends.all:
            await _first_up(backends, haproxy)
        applied.report(place, meta.digest)


async def _address(host: str, patience: float = 60.0) -> str:
    """Return the address and port of a server, which may have to get one yet."""
    deadline = time.monotonic() + patience
    while True:
        try:
            ip, port = await address(host, SERVER_PORT)
            return f"{ip}:{port}"
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def _first_up(backends: Backends, haproxy: Haproxy | None, patience: float = 60.0) -> None:
    """Wait for one healthy server: before that, "configured" would be a promise we break."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if haproxy is not None:
            ready = await haproxy.finds_a_server()
        else:
            ready = any(b.up for b in backends.all.values())
        if ready:
            return
        await asyncio.sleep(0.05)


class Status:
    """The pages about the balancer itself."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.started = time.time()

    async def handle(self, request: Request) -> Reply:
        path = request.path.rstrip("/")
        if path == "/health":
            up = any(b.up for b in self.balancer.backends.all.values())
            return Reply.json({"status": "ok" if up else "no server"}, 200 if up else 503)
        if path == "/metrics":
            return Reply.text(self.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        if path in ("/stats.json", "/stats"):
            return Reply.json(self.describe())
        if path == "":
            return Reply.text(self.page(), "text/html; charset=utf-8")
        raise Problem(
            404,
            f"There is no {request.path} here.",
            expected=["/", "/stats", "/health", "/metrics"],
            hint=f"predictions are asked at port {FRONT}",
        )

    def describe(self) -> dict[str, Any]:
        backends = self.balancer.backends
        leaving = [b for b in backends.leaving if b.active]
        return {
            "balancer": "labapps",
            "seconds": round(time.time() - self.started),
            "clients": len(self.balancer.fronts),
            "retries": self.balancer.retries,
            "answers": {str(k): v for k, v in sorted(self.balancer.answers.items())},
            "servers": [b.describe() for b in [*backends.all.values(), *leaving]],
        }

    def metrics(self) -> str:
        lines = [f"balancer_retries_total {self.balancer.retries}"]
        for status, count in sorted(self.balancer.answers.items()):
            lines.append(f'balancer_answers_total{{status="{status}"}} {count}')
        for b in self.balancer.backends.all.values():
            lines.append(f'balancer_server_up{{server="{b.host}"}} {int(b.up)}')
            lines.append(f'balancer_server_requests_total{{server="{b.host}"}} {b.total}')
            lines.append(f'balancer_server_active{{server="{b.host}"}} {b.active}')
        return "\n".join(lines) + "\n"

    def page(self) -> str:
        facts = self.describe()
        columns = ["server", "state", "active", "total", "failures", "reason"]
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(s[c]))}</td>" for c in columns)
            for s in facts["servers"]
        )
        head = "".join(f"<th>{c}</th>" for c in columns)
        return (
            "<!doctype html><html lang='en'><meta charset='utf-8'><meta http-equiv='refresh' "
            "content='2'><title>Load balancer</title><style>body{font:16px system-ui;margin:2rem}"
            "td,th{text-align:left;padding:.2rem 1rem}</style><h1>Load balancer</h1>"
            f"<p>{facts['clients']} clients, {facts['retries']} retries, answers "
            f"{html.escape(str(facts['answers']))}</p><table><tr>{head}</tr>{rows}</table>"
        )
