"""Choose the ports the platform listens on."""

from __future__ import annotations

import socket
import sys


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose(*wanted: int | None, host: str = "127.0.0.1") -> int:
    """Return the first wanted port that is free, or one the system picks.

    Whoever listens on it starts a moment later, so the port is claimed until this process ends: of
    two platforms that start in the same moment each gets a port of its own.
    """
    for port in wanted:
        if port and is_free(port, host) and ((host, port) in _claims or _claim(port, host)):
            return port
    while True:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if _claim(port, host):
            return port


def keep(port: int, host: str = "127.0.0.1") -> int:
    """Return a port on which something of ours listens already, and claim it."""
    _claim(port, host)
    return port


_claims: set[tuple[str, int]] = set()


def _claim(port: int, host: str) -> bool:
    """Say whether no other process has chosen the port.

    The claim is an abstract Unix socket: it belongs to the network namespace, as ports do, is taken
    by one process only, and ends with it. Where there is none, as on macOS, nothing is claimed.
    """
    if (host, port) in _claims:
        return False
    if not sys.platform.startswith("linux"):
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0labsandbox {host} {port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # open until this process ends
    _claims.add((host, port))
    return True
