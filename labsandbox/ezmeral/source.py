"""Who asks: the address of another host, or the user whose process it is on this one.

Everybody on this host comes from the same address, so wrong passwords are counted by the user id
that owns the connection: one user's guesses do not shut out another. Linux shows the owner in
`/proc/net/tcp`; where that is missing, all of this host count as one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from pathlib import Path

_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}


def of(transport: asyncio.BaseTransport | None) -> str:
    """Return a short name of whoever opened the connection."""
    peer = transport.get_extra_info("peername") if transport else None
    here = transport.get_extra_info("sockname") if transport else None
    if not peer or not here:
        return "unknown"
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    if not address.is_loopback:
        return str(address)
    owner = _owner((peer[0], peer[1]), (here[0], here[1]))
    return "this host" if owner is None else f"user {owner} of this host"


def _owner(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    """Return the user id that owns the other end of a connection within this host."""
    version = ipaddress.ip_address(peer[0]).version
    wanted = f" {_written(*peer)} {_written(*here)} "
    try:
        with _TABLES[version].open() as table:
            for line in table:
                if wanted in line:
                    return int(line.split()[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


def _written(host: str, port: int) -> str:
    """Return an address as the kernel writes it: words of four bytes in the host's byte order."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host)
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return "".join(word.hex().upper() for word in words) + f":{port:04X}"
