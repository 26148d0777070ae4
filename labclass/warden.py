"""Stand beside a program and leave nothing behind when it ends, however it ends.

    python -m labclass.warden [--with-parent] [--memory BYTES] [--notice FILE] -- command …

Why it exists: a learner's server starts kernels, Java, shells, and programs that leave their
parents on purpose. Whatever loses its parent becomes the warden's child (a *subreaper*), so that
once the server has ended, killed with -9 or not, the warden finds all that is left and ends it.
`--with-parent` also ends the program when whoever started the warden is gone: right for a hub's
services, wrong for learners' servers, which outlive a hub that was killed and are adopted again.

With `--memory` it also bounds what the program takes of the host (`share.py`), and writes into
FILE what it had to end for that.

Standard library only: there is one of it for each learner.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from labclass import share
from labclass.processes import descendants

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
PATIENCE = 8  # seconds; the hub waits 10 before it asks less kindly

_libc = ctypes.CDLL(None)


def end_all() -> None:
    """Kill and reap every process below this one; what is forked meanwhile is met again."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


class Warden:
    """One program, from its start to the end of all it started."""

    def __init__(self, command: list[str], begin: Callable[[], None] = lambda: None) -> None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._is_ending = False

        def prepare() -> None:
            _die_with_parent()
            begin()

        self._child = subprocess.Popen(command, preexec_fn=prepare)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, self._insist)

    def watch(self) -> int:
        """Return the program's exit status when nothing it started is left."""
        while True:
            pid, status = os.wait()
            if pid == self._child.pid:
                break
        signal.alarm(0)
        end_all()
        code = self._child.returncode = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Ask the program to end; when asked twice, or after a while, do not ask."""
        if self._is_ending:
            self._insist(number, frame)
        self._is_ending = True
        signal.alarm(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGTERM)

    def _insist(self, number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _bounded(command: list[str], memory: int, notice: Path | None) -> int:
    """Run a command under a warden that also bounds what it takes."""

    def tell(words: str) -> None:
        print(words, file=sys.stderr, flush=True)
        if notice:
            # In place: the learner may read this very file and nothing beside it.
            notice.write_text(f"{time.strftime('%H:%M')} {words}\n", "utf-8")

    taken = share.take(f"learner-{os.getpid()}", memory)
    try:
        warden = Warden(command, taken.join)
        threading.Thread(target=share.watch, args=(os.getpid(), memory, tell), daemon=True).start()
        return warden.watch()
    finally:
        taken.release()


def main(words: list[str] | None = None) -> int:
    """Run a command under a warden."""
    parser = argparse.ArgumentParser(prog="python -m labclass.warden")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent is gone")
    parser.add_argument("--memory", type=int, help="the most bytes its programs may hold")
    parser.add_argument("--notice", type=Path, help="where to write what was ended for that")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(words)
    if given.with_parent:
        parent = os.getppid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            return 0  # it went while we started
    try:
        if given.memory:
            return _bounded(given.command, given.memory, given.notice)
        return Warden(given.command).watch()
    except OSError as error:
        print(f"Expected a program to start, found {given.command[0]}: {error}.", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
