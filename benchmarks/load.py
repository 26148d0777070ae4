"""A load generator: the same request again and again over kept-open connections.

It reads nothing of an answer but its status and its length, so that it costs a tenth of what it
measures. Run it as a program, so that it shares no interpreter with anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

__all__ = ["Result", "drive", "request_bytes"]

Result = dict[str, float]


def request_bytes(
    host: str, path: str, body: bytes, headers: dict[str, str] | None = None
) -> bytes:
    """Return a POST request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [
        f"{k}: {v}" for k, v in ({"Content-Type": "application/json"} | (headers or {})).items()
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """One client that asks again as soon as it has its answer."""

    def __init__(self, request: bytes, end: float, times: list[float], bad: list[bytes]) -> None:
        self.request, self.end, self.times, self.bad = request, end, times, bad
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self.buffer[:head].lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            line_end = lower.find(b"\r\n", at)
            size = int(lower[at + 15 : line_end if line_end >= 0 else head])
            if len(self.buffer) < head + 4 + size:
                return
        elif not self.buffer.endswith(b"0\r\n\r\n"):
            return  # chunked, and not at its end
        now = time.perf_counter()
        self.times.append(now - self.began)
        if self.buffer[9:12] != b"200":
            self.bad.append(self.buffer[:300])
        self.buffer = b""
        if now < self.end:
            self.ask()
        else:
            self.finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.bad.append(b"connection lost")
            self.finish()

    def finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self.transport.close()


async def drive(
    host: str,
    port: int,
    request: bytes,
    connections: int,
    seconds: float,
    trust: ssl.SSLContext | None = None,
) -> Result:
    """Ask for some seconds; return requests a second and latencies in milliseconds."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    bad: list[bytes] = []
    began = time.perf_counter()
    clients = [
        (
            await loop.create_connection(
                lambda: Connection(request, began + seconds, times, bad), host, port, ssl=trust
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for client in clients))
    spent = time.perf_counter() - began
    if bad:
        print(bad[0][:300].decode("utf-8", "replace"), file=sys.stderr)
    times.sort()
    count = len(times) or 1
    return {
        "requests": len(times),
        "rate": len(times) / spent,
        "mean": sum(times) / count * 1000,
        "p50": times[count // 2] * 1000 if times else 0.0,
        "p99": times[min(count - 1, int(count * 0.99))] * 1000 if times else 0.0,
        "bad": len(bad),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("request", type=Path, help="file with the bytes of one request")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--ca", type=Path, help="ask over TLS, and trust this certificate")
    options = parser.parse_args()
    trust = ssl.create_default_context(cafile=options.ca) if options.ca else None
    result = uvloop.run(
        drive(
            options.host,
            options.port,
            options.request.read_bytes(),
            options.connections,
            options.seconds,
            trust,
        )
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
