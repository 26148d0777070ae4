"""Refuse the few system calls by which a confined program could have an unconfined one act for it.

Landlock (up to ABI 7) does not look at unix sockets that have a path: whoever may reach the file
may connect, to a container engine, to the desktop's bus, to the sandbox's own keeper. Programs of
one user may. So a confined person's programs get no unix sockets at all; pairs of connected ones
(`socketpair`) stay, event loops are made of them. io_uring goes too: it makes sockets without the
call that is refused. So do programs for another instruction set, whose calls have other numbers.

A filter in the kernel's classic BPF, by hand: it is a dozen lines, and no library is needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # in struct seccomp_data, little-endian
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_IO_URING_SETUP = 425  # the same everywhere
_FOREIGN = 0x40000000  # x32: numbers of x86-64 above this bit


@dataclass(frozen=True)
class _Machine:
    audit: int
    socket: int
    truncate: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, socket=41, truncate=76),
    "aarch64": _Machine(0xC00000B7, socket=198, truncate=45),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse() -> None:
    """Refuse these calls to this process and all it starts; there is no way back."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(
            errno.ENOSYS,
            f"Expected one of {', '.join(_MACHINES)}, found {platform.machine()}: the numbers of "
            "its system calls are not known here",
        )
    code = filter_for(machine)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"The kernel refused a filter of system calls: {os.strerror(number)}")


def filter_for(machine: _Machine) -> bytes:
    """Return the filter's instructions for one instruction set."""
    absent, forbidden = _ERROR | errno.ENOSYS, _ERROR | errno.EACCES
    lines = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, absent),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 1, 0, _FOREIGN),
        (_EQUAL, 0, 1, _IO_URING_SETUP),
        (_RETURN, 0, 0, absent),
        # Before ABI 3, Landlock lets a path be cut short; no program of ours needs this call.
        (_EQUAL, 3, 0, machine.truncate),
        (_EQUAL, 0, 3, machine.socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, int(socket.AF_UNIX)),
        (_RETURN, 0, 0, forbidden),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
