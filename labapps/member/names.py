"""Look up a host by the interpreter's own resolver.

uvloop has one of its own, which knows nothing of a platform whose names are not in DNS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

__all__ = ["address"]


async def address(host: str, port: int) -> tuple[str, int]:
    """Return an address of a host and where its port is there; OSError when it has none.

    The port differs where the pods of a laptop share one address.
    """
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        found = await asyncio.to_thread(
            socket.getaddrinfo, host, port, socket.AF_INET, socket.SOCK_STREAM
        )
        ip, real, *_ = found[0][4]
        return str(ip), int(real)
