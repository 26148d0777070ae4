"""Ask whether a file of the public web is there, and nothing of this host or its network.

The operator asks with its own rights, for anybody who may create a kdcluster. So it asks public
addresses only, follows nobody elsewhere, and tells no more than yes or no. What lies elsewhere is
not checked: the member that downloads it will say what it finds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

_SECONDS = 5
_GONE = (404, 410)
ABSENT = "the file is not there"


class _NotPublic(OSError):
    """A name stands for an address that is not public."""


def is_public(address: str) -> bool:
    """Say whether anybody on the internet may be asked by this address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast


class _Public(AbstractResolver):
    """Resolves names to public addresses; the connection goes to just these."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> Any:
        loop = asyncio.get_running_loop()
        rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        if not rows or not all(is_public(str(row[4][0])) for row in rows):
            raise _NotPublic(host)
        return [
            {"hostname": host, "host": row[4][0], "port": port, "family": row[0], "proto": row[2],
             "flags": socket.AI_NUMERICHOST}
            for row in rows
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""


async def absent(urls: set[str]) -> dict[str, str]:
    """Return those of the addresses whose file is certainly not there, with the reason."""
    asked = sorted(filter(_may_be_asked, urls))
    if not asked:
        return {}
    connector = aiohttp.TCPConnector(resolver=_Public(), use_dns_cache=False)
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        found = await asyncio.gather(*(_is_absent(session, url) for url in asked))
    return {url: ABSENT for url, is_absent in zip(asked, found, strict=True) if is_absent}


def _may_be_asked(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host:
        return False
    is_literal = ":" in host or host.replace(".", "").isdigit() or host.startswith("0x")
    return is_public(host) if is_literal else True


async def _is_absent(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.head(url, allow_redirects=False) as answer:
            return answer.status in _GONE
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False
