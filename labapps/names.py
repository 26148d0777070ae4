"""Look up a host by the interpreter's own resolver.

uvloop has one of its own, which knows nothing of a platform whose names are not in DNS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

__all__ = ["address"]


async def address(host: str) -> str:
    """Return an address of a host; OSError when it has none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        found = await asyncio.to_thread(
            socket.getaddrinfo, host, None, socket.AF_INET, socket.SOCK_STREAM
        )
        return str(found[0][4][0])
