"""Take bytes out of a pipe so that nobody's kill -9 loses or doubles one.

Who reads a pipe and is killed before the log is written has lost what was read. So one system call
(splice) moves the bytes into a file, the intake, and they are read from there: whatever was taken
lies in the pipe, in the intake or in the log. The intake begins with how far the log has come, so
that a successor can tell a batch that was logged from one that was not. Standard library only: the
keeper imports this.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import NamedTuple

_CHUNK = 64 * 1024
_LONG = 256 * 1024
_NOWHERE = -1
_HEAD = struct.Struct("<4Q")


class Mark(NamedTuple):
    """How far a log has come: which file it is and its size."""

    inode: int
    size: int


class Intake:
    """The bytes of one pipe on their way into a log.

    `start` to `end` is the beginning of a line that waits for its end; what lies behind `end` was
    taken and perhaps logged, when the log was at `mark`.
    """

    def __init__(self, path: str, *, is_new: bool) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if is_new else 0)
        try:
            self.number = os.open(path, flags, 0o600)
            head = os.pread(self.number, _HEAD.size, 0)
        except OSError:  # The disk is full: the pipe is read all the same.
            self.number, head = _NOWHERE, b""
        if len(head) < _HEAD.size:
            head = _HEAD.pack(0, 0, _HEAD.size, _HEAD.size)
        found: tuple[int, int, int, int] = _HEAD.unpack(head)
        self.mark = Mark(*found[:2])
        self.start, self.end = found[2:]
        self._taken = 0

    def left(self) -> tuple[bytes, bytes]:
        """Return what an earlier reader left: the line it had begun, and what it had taken."""
        if self.number == _NOWHERE or os.fstat(self.number).st_size < self.end:
            self.start = self.end = _HEAD.size  # It was ended while it emptied the intake.
            return b"", b""
        begun = os.pread(self.number, self.end - self.start, self.start)
        taken = os.pread(self.number, _CHUNK, self.end)
        self._taken = len(taken)
        return begun, taken

    def take(self, pipe: int, mark: Mark) -> bytes:
        """Take what the pipe holds, nothing at its end; raise BlockingIOError when it is empty."""
        self._taken = 0
        try:
            if mark != self.mark:
                self._write(mark)
            self._taken = os.splice(
                pipe, self.number, _CHUNK, offset_dst=self.end, flags=os.SPLICE_F_NONBLOCK
            )
        except BlockingIOError:
            raise
        except OSError:  # The disk is full, or its file system cannot do this.
            self.start = self.end  # What comes now continues nothing that lies here.
            return os.read(pipe, _CHUNK)
        return os.pread(self.number, self._taken, self.end)

    def settle(self, mark: Mark, rest: int) -> None:
        """Note that all is logged, but for the last so many bytes."""
        self.end += self._taken
        self.start = max(self.start, self.end - rest)
        self._taken = 0
        with contextlib.suppress(OSError):  # On a full disk the log lacks lines, too.
            self._write(mark)
            if self.is_long and not rest:
                os.ftruncate(self.number, _HEAD.size)
                self.start = self.end = _HEAD.size
                self._write(mark)

    def unsettle(self, mark: Mark) -> None:
        """Note that the line which waits for its end is about to be logged without one."""
        self.end = self.start
        with contextlib.suppress(OSError):
            self._write(mark)

    @property
    def is_long(self) -> bool:
        """Tell whether it is time to empty the file, which is possible between two lines."""
        return self.end > _LONG

    def close(self) -> None:
        """Forget all of it."""
        with contextlib.suppress(OSError):  # There is no file, or the pod's folder is gone.
            os.close(self.number)
            os.unlink(self.path)

    def _write(self, mark: Mark) -> None:
        os.pwrite(self.number, _HEAD.pack(*mark, self.start, self.end), 0)
        self.mark = mark
