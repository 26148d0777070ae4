"""Balance with haproxy, where BALANCER=haproxy: its configuration, and its life."""

from __future__ import annotations

import asyncio
import csv
import json
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from labapps.member.programs import Program
from labapps.web.crowd import RESERVED, raise_limit

__all__ = ["Haproxy", "render"]

log = logging.getLogger(__name__)
TOO_LONG = "The body is too long; at most {limit} bytes are taken."
NO_SERVER = json.dumps({"error": "No RESTServer is ready."})


def render(
    listen: str,
    servers: Sequence[tuple[str, str]],
    folder: Path,
    *,
    front: int,
    stats: int,
    limit: int,
    connections: int = 2048,
) -> str:
    """Return the configuration for servers given as (name, address:port).

    A request is asked again elsewhere while nothing of its answer has come, as the balancer of
    our own does; a server that leaves the list finishes what it has in the old process.
    """
    too_long = json.dumps({"error": TOO_LONG.format(limit=limit)})
    lines = [
        "global",
        f"    maxconn {connections}",
        "    tune.bufsize 65536",  # a request that fits can be sent again
        "    hard-stop-after 60s",
        "defaults",
        "    mode http",
        "    timeout connect 2s",
        "    timeout check 3s",
        "    timeout client 75s",
        "    timeout http-request 30s",  # the head of a request
        "    timeout http-keep-alive 15s",
        "    timeout server 120s",
        "    timeout queue 5s",
        "    retries 3",
        "    option redispatch 1",
        "    option forwardfor",
        f"    errorfile 503 {folder}/503.http",
        "frontend predict",
        f"    bind {listen}:{front}",
        f"    http-request return status 413 content-type application/json string '{too_long}' "
        f"if {{ req.hdr_val(content-length) gt {limit} }}",
        "    default_backend servers",
        "backend servers",
        "    balance leastconn",
        "    option httpchk GET /health",
        "    http-check expect status 200",
        "    retry-on conn-failure empty-response",
        "    default-server check inter 1s fastinter 200ms downinter 200ms fall 2 rise 1",
        *(f"    server {name} {address}" for name, address in servers),
        "frontend stats",
        f"    bind {listen}:{stats}",
        "    stats enable",
        "    stats uri /",
        "    stats refresh 2s",
    ]
    return "\n".join(lines) + "\n"


class Haproxy:
    """The running haproxy of this pod."""

    def __init__(self, program: str, folder: Path, listen: str, front: int, stats: int, limit: int):
        self.folder, self.listen = folder, listen
        self.front, self.stats, self.limit = front, stats, limit
        self.config = folder / "haproxy.cfg"
        argv = [program, "-W", "-db", "-f", str(self.config)]
        self.program = Program("haproxy", argv, os.environ)
        self.text = ""

    async def serve(self, servers: Sequence[tuple[str, str]]) -> None:
        """Balance over these servers from now on."""
        text = render(
            self.listen,
            servers,
            self.folder,
            front=self.front,
            stats=self.stats,
            limit=self.limit,
            # Two descriptors for each, and some of its own.
            connections=min(10_000, (raise_limit() - RESERVED) // 2),
        )
        if text == self.text:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        head += f"Retry-After: 1\r\nConnection: close\r\nContent-Length: {len(NO_SERVER)}\r\n\r\n"
        (self.folder / "503.http").write_text(head + NO_SERVER, newline="")
        self.config.write_text(text)
        process = self.program.process
        if not self.text or process is None:
            self.program.start()
        else:
            process.send_signal(signal.SIGUSR2)  # a new worker takes over the listening sockets
        self.text = text
        log.info("haproxy balances over %s", ", ".join(name for name, _ in servers) or "nobody")
        # Until it listens it is not ready, and a second signal would end it.
        while not await self._listens():
            await asyncio.sleep(0.05)

    async def finds_a_server(self) -> bool:
        """Tell whether haproxy's own check has found a server that is ready.

        It checks in its own rhythm: a server that others have seen ready a moment ago gets nothing
        yet, and the caller a 503.
        """
        try:
            text = await asyncio.to_thread(self._statistics)
        except (OSError, HTTPException):
            return False
        rows = csv.DictReader(text.lstrip("# ").splitlines())
        # Until its first check a server counts as up; "* " stands before a check under way.
        return any(
            row["pxname"] == "servers"
            and row["svname"] != "BACKEND"
            and row["status"].startswith("UP")
            and row["check_status"].removeprefix("* ") == "L7OK"
            for row in rows
        )

    def _statistics(self) -> str:
        with closing(HTTPConnection(self._host, self.stats, timeout=5)) as connection:
            connection.request("GET", "/;csv")
            return connection.getresponse().read().decode()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self._host, self.front)
        except OSError:
            return False
        writer.close()
        return True

    @property
    def _host(self) -> str:
        return "127.0.0.1" if self.listen == "0.0.0.0" else self.listen

    async def stop(self) -> None:
        """Finish what is under way, then end."""
        process = self.program.process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGUSR1)
        await self.program.stop(grace=20)
