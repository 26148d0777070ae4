"""How many connections a process can hold, and which it gives up first when there are more.

A connection costs a descriptor, and whoever opens many can take them all before anybody asks who
it is. So the process raises its soft limit, and at the last free places the connection that has
been silent longest is closed: HTTP allows that at any time, clients open another one.
"""

from __future__ import annotations

import contextlib
import resource
from collections import OrderedDict
from typing import Protocol

MOST = 65_536
RESERVED = 256
"""Descriptors kept for files, pipes and what a request itself opens."""
HEAD_SECONDS = 30.0
"""How long a client may take for the head of a request; from the start, or from its first byte."""


class Closable(Protocol):
    """What a crowd is made of."""

    def give_up(self) -> None:
        """Close the connection at once."""


def raise_limit() -> int:
    """Raise the soft limit of open files as far as may be; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


class Crowd:
    """The connections of one process."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.all: set[Closable] = set()
        self.idle: OrderedDict[Closable, None] = OrderedDict()

    def enter(self, connection: Closable) -> None:
        """Take a new connection in; somebody idle has to go when there is no more room."""
        if self.most is None:
            self.most = max(16, raise_limit() - RESERVED)
        while len(self.all) >= self.most and self.idle:
            oldest = next(iter(self.idle))
            self.leave(oldest)
            oldest.give_up()
        self.all.add(connection)
        self.idle[connection] = None

    def busy(self, connection: Closable) -> None:
        """Note that a request is under way: the connection stays."""
        self.idle.pop(connection, None)

    def rest(self, connection: Closable) -> None:
        """Note that nothing is under way any more."""
        if connection in self.all:
            self.idle[connection] = None
            self.idle.move_to_end(connection)

    def leave(self, connection: Closable) -> None:
        """Forget a connection that has ended."""
        self.all.discard(connection)
        self.idle.pop(connection, None)
