"""Where the ready replicas of a deployment listen: all addresses of a headless Service.

By the interpreter's own resolver: uvloop's knows nothing of a platform whose names are not in DNS.
A name that is not there yet may take a resolver many seconds
where no DNS server answers, so nothing waits for it longer than `SECONDS`, and such look-ups have
threads of their own.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import aiohttp.abc

__all__ = ["Names", "Resolver"]

SECONDS = 1.0
THREADS = 16


def addresses(name: str) -> list[str]:
    """Return all addresses of a name; none is no error."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(entry[4][0]) for entry in found})


class Names(aiohttp.abc.AbstractResolver):
    """Looks the hosts of aiohttp's requests up by the interpreter's own resolver."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Return the addresses of a host; OSError when it has none."""
        found = await asyncio.to_thread(
            socket.getaddrinfo, host, port, socket.AF_INET, socket.SOCK_STREAM
        )
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=proto,
                flags=0,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""


class Resolver:
    """Looks names up without holding anything else up."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(THREADS, "resolve")

    async def lookup(self, name: str) -> list[str]:
        """Return the addresses of an absolute name, as far as they come in time."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self.threads, addresses, f"{name}.")
        try:
            return await asyncio.wait_for(asyncio.shield(work), SECONDS)
        except TimeoutError:
            return []
