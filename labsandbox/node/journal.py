"""Write what containers print into log files, one line of the container runtimes' format each.

`2026-01-31T12:00:00.000000000Z stdout F the line`; a line longer than 16 KiB is written in parts,
all but the last marked P. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import contextlib
import os
import time

from labsandbox.node.intake import Intake, Mark

LIMIT = 10 * 1024 * 1024
_LONGEST = 16 * 1024


class Log:
    """One log file, turned over into `<name>.1` when it has grown to the limit."""

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self.path, self.limit = path, limit
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.number = os.open(self.path, flags, 0o600)
        found = os.fstat(self.number)
        self.inode, self.size = found.st_ino, found.st_size

    @property
    def mark(self) -> Mark:
        """Return how far this log has come."""
        return Mark(self.inode, self.size)

    def go_back(self, mark: Mark) -> None:
        """Drop what was written since; a file that was begun since is emptied."""
        self.size = mark.size if mark.inode == self.inode else 0
        with contextlib.suppress(OSError):
            os.ftruncate(self.number, self.size)

    def write(self, data: bytes) -> None:
        """Append whole lines; output is dropped, not waited for, when the disk is full."""
        try:
            if self.size + len(data) > self.limit and self.size:
                os.close(self.number)
                os.replace(self.path, self.path + ".1")
                self._open()
            self.size += os.write(self.number, data)
        except OSError:
            return

    def close(self) -> None:
        """Close the file."""
        os.close(self.number)


class Pump:
    """Moves one stream of one container into its log, by an intake that outlives us."""

    def __init__(self, number: int, stream: str, log: Log, owner: str, intake: Intake) -> None:
        self.number, self.log, self.owner, self.intake = number, log, owner, intake
        self.stream = stream.encode()
        self.rest, taken = intake.left()
        if taken:
            log.go_back(intake.mark)
            self._take(taken)

    def read(self, once: bool = False) -> bool:
        """Move what is there; False at the end of the stream (or, with `once`, when empty)."""
        try:
            data = self.intake.take(self.number, self.log.mark)
        except BlockingIOError:
            return not once
        if not data:
            return False
        self._take(data)
        return True

    def finish(self) -> None:
        """Write an unfinished last line, and forget the intake."""
        if self.rest:
            self.intake.unsettle(self.log.mark)
            self.log.write(self._line(self.rest, b"F"))
            self.rest = b""
        self.intake.close()

    def _take(self, data: bytes) -> None:
        *lines, rest = (self.rest + data).split(b"\n")
        written = []
        for line in lines:
            while len(line) > _LONGEST:
                written.append(self._line(line[:_LONGEST], b"P"))
                line = line[_LONGEST:]
            written.append(self._line(line, b"F"))
        while rest and (len(rest) > _LONGEST or self.intake.is_long):
            written.append(self._line(rest[:_LONGEST], b"P"))
            rest = rest[_LONGEST:]
        self.rest = rest
        if written:
            self.log.write(b"".join(written))
        self.intake.settle(self.log.mark, len(rest))

    def _line(self, text: bytes, mark: bytes) -> bytes:
        return b"%s %s %s %s\n" % (stamp(time.time_ns()), self.stream, mark, text)


def stamp(nanoseconds: int) -> bytes:
    """Return a moment as RFC 3339 with nanoseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), rest)
