"""A queue of things to look at: each at most once, later again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 30.0


class Queue(Generic[Key]):
    """Keys waiting to be worked on, never the same one twice at once."""

    def __init__(self) -> None:
        self._waiting: dict[Key, None] = {}
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        # When each is due, beside the handle: uvloop's handle of a call that is due at once does
        # not know.
        self._timers: dict[Key, tuple[float, asyncio.Handle]] = {}
        self._something = asyncio.Event()

    def add(self, key: Key) -> None:
        """Want a key to be looked at."""
        if key in self._working:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._something.set()

    def add_later(self, key: Key, seconds: float) -> None:
        """Want a key to be looked at after some time; the sooner of two moments counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if key in self._timers:
            earlier, timer = self._timers[key]
            if earlier <= due:
                return
            timer.cancel()
        self._timers[key] = due, loop.call_later(seconds, self._due, key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def get(self) -> Key:
        """Return the next key, once there is one."""
        while not self._waiting:
            self._something.clear()
            await self._something.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Have finished a key."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: Key) -> float:
        """Have failed on a key; it comes again after a growing pause, which is returned."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        pause: float = min(_FIRST_PAUSE * 2**count, _LONGEST_PAUSE)
        self._release(key)
        self.add_later(key, pause)
        return pause

    def _release(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Forget all timers."""
        for _, timer in self._timers.values():
            timer.cancel()
