"""End what a run that was killed with -9 left behind.

All processes of a run carry a mark in their environment, which children inherit: the folder of the
run. Whoever has it and does not belong to a running `labregress` is an orphan, with its group.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil

__all__ = ["MARK", "end", "end_group", "marked"]

MARK = "LABREGRESS_RUN"


def marked(out: Path) -> list[psutil.Process]:
    """Return all processes that a run in this folder has started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(out.resolve()):
                found.append(process)
    return found


def end(out: Path) -> int:
    """End the orphans of a folder; return how many there were."""
    left = [one for one in marked(out) if one.pid != os.getpid()]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=30)
    return len(left)


def end_group(leader: int) -> None:
    """End a process group: the driver, the scorer and the scorer's workers."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
