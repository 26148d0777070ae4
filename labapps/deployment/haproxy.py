"""Balance with haproxy, where it is installed: its configuration, and its life."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from labapps.programs import Program

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
) -> str:
    """Return the configuration for servers given as (name, address:port).

    A request is asked again elsewhere while nothing of its answer has come, as the balancer of
    our own does; a server that leaves the list finishes what it has in the old process.
    """
    too_long = json.dumps({"error": TOO_LONG.format(limit=limit)})
    lines = [
        "global",
        "    maxconn 2048",
        "    tune.bufsize 65536",  # a request that fits can be sent again
        "    hard-stop-after 60s",
        "defaults",
        "    mode http",
        "    timeout connect 2s",
        "    timeout check 3s",
        "    timeout client 75s",
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

    async def _listens(self) -> bool:
        host = "127.0.0.1" if self.listen == "0.0.0.0" else self.listen
        try:
            _, writer = await asyncio.open_connection(host, self.front)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        """Finish what is under way, then end."""
        process = self.program.process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGUSR1)
        await self.program.stop(grace=20)
