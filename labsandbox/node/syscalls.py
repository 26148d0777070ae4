"""Refuse the few system calls by which a confined program could have an unconfined one act for it.

Landlock (up to ABI 7) does not look at unix sockets that have a path: whoever may reach the file
may connect, to a container engine, to the desktop's bus, to an ssh-agent, to a tmux, to the
sandbox's own keeper. Programs of one user may. So confined programs get no unix sockets at all,
abstract ones included; of the other families they get IP and netlink. Pairs of connected ones
(`socketpair`) stay, event loops are made of them, but not of datagrams: one of those can send to
any path. io_uring goes too: it makes sockets without the call that is refused. So do programs for
another instruction set, whose calls have other numbers.

Nor does Landlock look at what one program of a user may do to another one's limits (a limit of CPU
time is a kill), to its priority, and to the user's keys: limits and priority are set of oneself
alone, and keyrings are closed.

A filter in the kernel's classic BPF, by hand: it is a few dozen lines, and no library is needed.
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
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
# in struct seccomp_data, little-endian
_NUMBER, _MACHINE, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _THIRD_ARGUMENT = 0, 4, 16, 24, 32
_UPPER_HALF = 4
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_IO_URING_SETUP = 425  # the same everywhere
_FOREIGN = 0x40000000  # x32: numbers of x86-64 above this bit
_FAMILIES = [int(f) for f in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)]
_PAIRS = [int(t) for t in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)]
_TYPE = 0x0F  # the rest of socketpair's second argument is flags


@dataclass(frozen=True)
class _Machine:
    audit: int
    socket: int
    socketpair: int
    truncate: int
    chown: tuple[int, ...]  # by path, by descriptor, of a link
    keys: tuple[int, ...]  # add_key, request_key, keyctl
    prlimit: int
    setpriority: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 53, 76, (92, 93, 94, 260), (248, 249, 250), 302, 141),
    "aarch64": _Machine(0xC00000B7, 198, 199, 45, (54, 55), (217, 218, 219), 261, 140),
    "riscv64": _Machine(0xC00000F3, 198, 199, 45, (54, 55), (217, 218, 219), 261, 140),
}


_Line = tuple[int, int, int, int]  # operation, jump if true, jump if false, value


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_DENIED, _ALLOWED = (_RETURN, 0, 0, _ERROR | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
# prlimit of another process may read its limits: its third argument, a pointer, is null.
_LIMITS: list[_Line] = [
    (_LOAD, 0, 0, _FIRST_ARGUMENT),
    (_EQUAL, 5, 0, 0),
    (_LOAD, 0, 0, _THIRD_ARGUMENT),
    (_EQUAL, 0, 2, 0),
    (_LOAD, 0, 0, _THIRD_ARGUMENT + _UPPER_HALF),
    (_EQUAL, 1, 0, 0),
    _DENIED,
    _ALLOWED,
]
# setpriority of a process (and no group or user), and of this one.
_PRIORITY: list[_Line] = [
    (_LOAD, 0, 0, _FIRST_ARGUMENT),
    (_EQUAL, 0, 2, 0),
    (_LOAD, 0, 0, _SECOND_ARGUMENT),
    (_EQUAL, 1, 0, 0),
    _DENIED,
    _ALLOWED,
]


def refuse(*, sockets: bool = True, truncate: bool = False, chown: bool = False) -> None:
    """Refuse these calls to this process and all it starts; there is no way back.

    `truncate` by path is for kernels before ABI 3, where Landlock lets a path be cut short; `chown`
    for machines where `view.py` cannot keep other files' owners as they are.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(
            errno.ENOSYS,
            f"Expected one of {', '.join(_MACHINES)}, found {platform.machine()}: the numbers of "
            "its system calls are not known here",
        )
    code = filter_for(machine, sockets, truncate, chown)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"The kernel refused a filter of system calls: {os.strerror(number)}")


def filter_for(
    machine: _Machine, sockets: bool = True, truncate: bool = True, chown: bool = False
) -> bytes:
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
    ]
    refused = [(machine.truncate, forbidden)] if truncate else []
    denied = [*machine.keys, *(machine.chown if chown else ())]
    refused += [(number, _ERROR | errno.EPERM) for number in denied]
    for number, error in refused:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, error)]
    lines += _on(machine.prlimit, _LIMITS) + _on(machine.setpriority, _PRIORITY)
    if sockets:
        lines += _only(machine.socket, [(_LOAD, 0, 0, _FIRST_ARGUMENT)], _FAMILIES)
        kind = [(_LOAD, 0, 0, _SECOND_ARGUMENT), (_AND, 0, 0, _TYPE)]
        lines += _only(machine.socketpair, kind, _PAIRS)
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _only(number: int, load: list[_Line], allowed: list[int]) -> list[_Line]:
    """Return the lines that let a call through with one of these arguments and no other."""
    lines = [*load]
    for left, value in zip(range(len(allowed), 0, -1), allowed, strict=True):
        lines.append((_EQUAL, left, 0, value))
    lines += [(_RETURN, 0, 0, _ERROR | errno.EACCES), (_RETURN, 0, 0, _ALLOW)]
    return _on(number, lines)


def _on(number: int, lines: list[_Line]) -> list[_Line]:
    """Return lines that judge one call; each way through them ends in an answer."""
    return [(_EQUAL, 0, len(lines), number), *lines]
