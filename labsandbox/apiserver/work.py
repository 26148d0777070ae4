"""Work on large objects happens in a few threads, so that it never stops the event loop.

Reading, merging, tracking, validating and storing an object costs some microseconds a field:
nothing for a pod, seconds for 3 MB of short fields. One user has one such piece of work at a time;
what waits for its turn holds up nobody else. Small objects are worked on in the event loop: code
that handles them keeps its work in proportion to their size.

The cycle collector rests meanwhile. It would look at the half-made parts of a large object again
and again, up to 0.2 s at a time in which no other thread runs, and find nothing: they are trees.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
LARGE = 32 * 1024
"""Bytes from which on work leaves the event loop."""
THREADS = 4


@dataclass
class Load:
    """How much a request asks to be worked on, and for whom."""

    owner: str
    size: int = 0


_load: ContextVar[Load | None] = ContextVar("load", default=None)
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="work")
_turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()


def begin(owner: str) -> None:
    """Start counting for the request of this task."""
    _load.set(Load(owner))


def add(size: int) -> None:
    """Note that the request works on `size` more bytes."""
    load = _load.get()
    if load is not None:
        load.size += size


async def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function; in a thread, and when it is this user's turn, if the request is large.

    The function must be pure: it sees neither the store nor anything else the event loop changes.
    """
    load = _load.get()
    if load is None or load.size < LARGE:
        return function(*args, **kwargs)
    turn = _turns.get(load.owner)
    if turn is None:
        turn = _turns[load.owner] = asyncio.Lock()
    async with turn:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_threads, lambda: _call(function, *args, **kwargs))


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    with _collector.resting():
        return function(*args, **kwargs)


class _Collector:
    """Rests while at least one thread works on a large object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = 0

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        with self._lock:
            self._working += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1
                if not self._working:
                    gc.enable()


_collector = _Collector()
