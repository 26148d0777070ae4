"""Begin the platform's process anew in its own place when its bound of memory is reached.

Nobody watches over the platform's process, so it replaces itself: the same process id, the same
lock, an empty memory. What it started goes on: the API server stays its child and is taken over
here, pods belong to the keeper. What it held in memory only are open connections: clients of the
front door and of the gateway connect again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import NoReturn

import psutil

from labsandbox import bounds

log = logging.getLogger(__name__)

HELD = "--held"
"""The option that hands the lock's descriptor to the successor."""


def begin(words: list[str], lock: int) -> NoReturn:
    """Replace this process by one of the same command line; end when even that is impossible."""
    os.set_inheritable(lock, True)
    kept = words[: words.index(HELD)] if HELD in words else words
    try:
        os.execv(
            sys.executable,
            [sys.executable, "-m", "labsandbox.platform", *kept, HELD, str(lock)],
        )
    except (OSError, MemoryError):
        log.exception("the platform's process cannot begin anew; it ends")
        os._exit(bounds.AT_ITS_BOUND)


class Adopted:
    """A child that this process started before it began anew; what `subprocess` knows of others."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code of a child that has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, seconds: float = 5) -> int:
        """Wait for the end of the child; kill it when it takes too long."""
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                deadline += seconds
            time.sleep(0.02)
        return code

    def terminate(self) -> None:
        """Ask the child to end."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the child."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def child(pid: object) -> Adopted | None:
    """Return a living child of this process that it does not remember."""
    if not isinstance(pid, int):
        return None
    try:
        found = psutil.Process(pid)
        is_ours = found.ppid() == os.getpid() and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return Adopted(pid) if is_ours else None
