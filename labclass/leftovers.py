"""Find and end what a hub that was killed left behind.

Every process the hub starts carries a mark in its environment. Marks are looked for in /proc, so
nothing has to be written down that could be out of date.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil

MARK = "LABS_CLASS_PROCESS"
_PATIENCE = 10.0


def mark(part: str, folder: Path) -> dict[str, str]:
    """Return the variable that marks a process: part is `hub` or `server`."""
    return {MARK: f"{part} {folder}"}


def began(pid: int) -> str:
    """Return when a process began, in a form that no other process of this host will share."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (OSError, IndexError):
        return ""


def marked(part: str, folder: Path) -> list[psutil.Process]:
    """Find the processes of one part of a class's hub."""
    wanted = f"{MARK}={part} {folder}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError, psutil.Error):
                if wanted in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(psutil.Process(int(entry)))
    return found


def sweep(folder: Path, *, servers: bool = False) -> int:
    """End the proxy and services of a class's hub that is gone; return how many processes.

    The learners' servers go on, for the next hub to take over, unless `servers` says otherwise.
    """
    folder = folder.absolute()
    ended = 0
    for part in ("hub", "server") if servers else ("hub",):
        left = marked(part, folder)
        ended += len(left)
        # Wardens first: each ends what it watches, in order.
        for group in ([one for one in left if _is_warden(one)], left):
            _signal(group, signal.SIGTERM)
            psutil.wait_procs(group, timeout=_PATIENCE)
        _signal(marked(part, folder), signal.SIGKILL)
        psutil.wait_procs(left, timeout=_PATIENCE)
    return ended


def _is_warden(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "labclass.warden" in process.cmdline()[:4]
    return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.send_signal(number)
