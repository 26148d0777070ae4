"""Keep the front door open to others while somebody holds many connections.

The web server behind does not limit connections that ask nothing. So each passes through here: a
head that does not come in time ends the connection, and the longest silent one gives way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from labsandbox.crowd import HEAD_SECONDS, Crowd

Factory = Callable[[], asyncio.Protocol]


class Guarded(asyncio.Protocol):
    """One connection, handed on to the web server's protocol."""

    def __init__(self, inner: asyncio.Protocol, crowd: Crowd) -> None:
        self._inner, self._crowd = inner, crowd
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: the transports of uvloop are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._crowd.enter(self)
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.give_up)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._timer is not None and b"\r\n\r\n" in data:
            self._timer.cancel()
            self._timer = None
        self._crowd.rest(self)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._crowd.leave(self)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def give_up(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


def guarded(factory: Factory, crowd: Crowd) -> Factory:
    """Return a factory whose connections are among the crowd."""
    return lambda: Guarded(factory(), crowd)
