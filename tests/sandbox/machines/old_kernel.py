"""Run a program as on a kernel without Landlock: its system calls do not exist.

python -m tests.sandbox.machines.old_kernel PROGRAM WORD …
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

LANDLOCK = range(444, 447)  # the same everywhere
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
SET_NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forget_landlock() -> None:
    """Answer ENOSYS to Landlock's calls, in this process and in all that follow."""
    lines = [(LOAD, 0, 0, 0)]
    last = len(LANDLOCK) - 1
    lines += [(EQUAL, 1 + last - at, 0, number) for at, number in enumerate(LANDLOCK)]
    lines += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERROR | errno.ENOSYS)]
    code = b"".join(struct.pack("=HBBI", *line) for line in lines)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(lines), code)
    if libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    forget_landlock()
    os.execvp(sys.argv[1], sys.argv[1:])
