"""What a process was started with, and its end; one that ends meanwhile is no error."""

from __future__ import annotations

import contextlib
import time

import psutil

__all__ = ["environment_of", "kill", "words_of"]


def words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line, an empty one when it is gone or was not yet reaped."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Return a process's environment, an empty one when it is gone or was not yet reaped."""
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def kill(*pids: int) -> None:
    """Kill processes and wait for their end: a signal that was sent has not yet ended anything.

    Whoever looks for the successor of one of them would otherwise find the one that is ending.
    """
    killed = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.kill()
            killed.append(process)
    deadline = time.monotonic() + 30
    while any(_lives(process) for process in killed):
        assert time.monotonic() < deadline, f"expected the end of {killed}"
        time.sleep(0.005)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
