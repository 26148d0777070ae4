"""Run a part of the platform: on uvloop where there is one, with a watchdog beside it.

Every `__main__` of the sandbox starts here, so a part that runs alone (in a test, beside a real
API server) runs on the same event loop as under `labsandbox up`.

The watchdog is a thread that names what blocks the loop. All parts share one loop, so a loop that
does not yield stops all of them, and nothing else would say which one it was. It judges by the CPU
time of the loop's thread and not by the clock: on a busy machine a loop that waits for its turn is
late, but it is not blocked.

A part whose memory has grown to its bound ends, and whoever started it starts it again: its loops
survive a MemoryError as they survive any other error, so it would go on without doing anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from labsandbox import bounds

log = logging.getLogger("labsandbox.watchdog")

T = TypeVar("T")

BLOCKED = "blocked the event loop"
_CPU_SECONDS = 1.0
_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.25
_BOUND_SECONDS = 1.0


def end() -> None:
    """End this process at once: there is no memory left to end it in order."""
    os._exit(bounds.AT_ITS_BOUND)


def run(work: Coroutine[Any, Any, T], at_bound: Callable[[], None] = end) -> T:
    """Run a program's main coroutine to its end, or until its bound of memory is reached."""
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_watched(work, at_bound))


async def _watched(work: Coroutine[Any, Any, T], at_bound: Callable[[], None]) -> T:
    guard = asyncio.create_task(_guard(at_bound), name="bound of memory")
    try:
        with Watchdog(asyncio.get_running_loop()):
            return await work
    finally:
        guard.cancel()


async def _guard(at_bound: Callable[[], None]) -> None:
    """Look at the bound again and again; what is there only for a moment is no reason to end."""
    while True:
        await asyncio.sleep(_BOUND_SECONDS)
        if not bounds.is_reached():
            continue
        gc.collect()
        await asyncio.sleep(_BOUND_SECONDS)
        if bounds.is_reached():
            log.critical("%s; this process ends, to begin anew", bounds.REACHED)
            at_bound()


class Watchdog:
    """Logs the task and the stack that keep a loop from turning; to be started in its thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cpu_seconds: float = _CPU_SECONDS,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._loop = loop
        self._cpu_seconds, self._wait_seconds = cpu_seconds, wait_seconds
        self._thread_id = threading.get_ident()
        self._stop = threading.Event()
        self._turned = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to watch."""
        self._stop.set()
        self._turned.set()
        self._thread.join()

    def _watch(self) -> None:
        clock = time.pthread_getcpuclockid(self._thread_id)
        while not self._stop.wait(_LOOK_SECONDS):
            self._turned.clear()
            with contextlib.suppress(RuntimeError):  # the loop is closed: the end is near
                self._loop.call_soon_threadsafe(self._turned.set)
            began, cpu = time.monotonic(), time.clock_gettime(clock)
            is_reported = False
            # Whoever leaves waits for this thread, so the loop does not turn any more.
            while not self._turned.wait(_LOOK_SECONDS) and not self._stop.is_set():
                used = time.clock_gettime(clock) - cpu
                waited = time.monotonic() - began
                if not is_reported and (used > self._cpu_seconds or waited > self._wait_seconds):
                    is_reported = True
                    self._report(used, waited)

    def _report(self, used: float, waited: float) -> None:
        task = asyncio.current_task(self._loop)
        name = repr(task.get_name()) if task else "A callback"
        frame = sys._current_frames().get(self._thread_id)
        stack = "".join(traceback.format_stack(frame)[-12:]) if frame else "(no stack)\n"
        if used > self._cpu_seconds:
            log.error("%s %s for %.1f s of CPU time:\n%s", name, BLOCKED, used, stack)
        else:
            log.warning("%s kept the event loop waiting for %.0f s:\n%s", name, waited, stack)
