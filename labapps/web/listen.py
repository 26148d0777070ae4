"""Listen on the ports of a pod, and say what to do when another program has one of them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

__all__ = ["PortTaken", "bind"]


class PortTaken(SystemExit):
    """Another program has a port of this pod; the program ends with a sentence that says so.

    SystemExit
    └── PortTaken
    """


def bind(host: str, ports: Iterable[int], backlog: int = 2048) -> list[socket.socket]:
    """Listen on the ports; connections queue from now on."""
    sockets = []
    for port in ports:
        # asyncio sends small pieces at once (TCP_NODELAY) only where the protocol is named: without
        # it every answer in two pieces waits 40 ms for the client's acknowledgement of the first.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise
            # On a laptop all pods share one network: who listens on 0.0.0.0 has this port of all.
            raise PortTaken(
                f"Expected port {port} of {host} to be free; another program of this machine "
                f"listens there, or on all addresses. `ss -ltnp 'sport = :{port}'` names it. "
                "Stop it: this pod starts again by itself."
            ) from error
        sock.listen(backlog)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets
