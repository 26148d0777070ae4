"""Make everything read-only to a process but its own trees: what Landlock does not guard.

Landlock (up to ABI 7) does not look at chmod, chown, utime and extended attributes, so a confined
program could still change the mode of any file of the user who runs the platform. In a mount
namespace of its own, where every mount is read-only, it gets EROFS. The namespace also has its own
terminals, which a program of the same user could otherwise open, and System V's shared memory.

An ordinary user needs a user namespace for this. Some machines refuse it (Ubuntu from 24.04 on by
AppArmor, container engines by default); then `is_possible` says so, and the node and
`labsandbox doctor` pass it on. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import struct
from collections.abc import Iterable, Sequence

from labsandbox import tree

_NEW_USER, _NEW_MOUNTS, _NEW_IPC = 0x10000000, 0x00020000, 0x08000000
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same everywhere
_CLONE, _CLOEXEC, _EMPTY_PATH, _RECURSIVE = 1, 0x80000, 0x1000, 0x8000
_FROM_EMPTY, _TO_EMPTY = 0x04, 0x40
_READ_ONLY, _NO_SETUID, _NO_DEVICES = 1, 2, 4
_NOSUID, _NOEXEC, _BIND, _REC, _PRIVATE = 2, 8, 0x1000, 0x4000, 0x40000
_HERE = -100

_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def is_possible() -> bool:
    """Tell whether this machine lets a process have such a view, by trying it in a child."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(OSError):
            enter([])
            status = 0
        os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def enter(writable: Iterable[Sequence[str]], shm: str | None = None) -> None:
    """Make all mounts read-only to this process and all it starts, but for these routes.

    A folder `shm` is its /dev/shm from now on.
    """
    _leave_mounts()
    if shm:
        _mount(shm.encode(), b"/dev/shm", None, _BIND, None)
    trees = [made for route in writable if (made := _own_mount(route)) is not None]
    _set(_HERE, b"/", _READ_ONLY, 0)
    if shm:
        trees.append(os.open("/dev/shm", os.O_PATH | os.O_DIRECTORY))
    for number in trees:
        with contextlib.suppress(PermissionError):  # read-only on the machine itself
            _set(number, b"", _NO_SETUID | _NO_DEVICES, _READ_ONLY)
        os.close(number)
    with contextlib.suppress(FileNotFoundError):
        _mount(b"devpts", b"/dev/pts", b"devpts", _NOSUID | _NOEXEC, b"newinstance,ptmxmode=0666")


def _leave_mounts() -> None:
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(ctypes.c_int(_NEW_MOUNTS | _NEW_IPC | (_NEW_USER if user else 0))))
    if user:
        _say("setgroups", "deny")
        _say("uid_map", f"{user} {user} 1")
        _say("gid_map", f"{group} {group} 1")
    _mount(None, b"/", None, _REC | _PRIVATE, None)


def _say(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)


def _own_mount(route: Sequence[str]) -> int | None:
    """Mount a folder on itself, so that it can have flags of its own; return the open mount."""
    try:
        folder = tree.open_route(route)
    except OSError:
        return None  # What does not exist, or leads outside, is not written to.
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode) or route[0].startswith("/dev/"):
            return None  # Devices and pipes are written to on a read-only mount as well.
        made = _call(_OPEN_TREE, folder, b"", _EMPTY_PATH | _CLONE | _CLOEXEC | _RECURSIVE)
        _call(_MOVE_MOUNT, made, b"", folder, b"", _FROM_EMPTY | _TO_EMPTY)
        return made
    finally:
        os.close(folder)


def _set(folder: int, path: bytes, flags: int, cleared: int) -> None:
    attributes = struct.pack("=QQQQ", flags, cleared, 0, 0)
    options = _RECURSIVE if path else _EMPTY_PATH  # mounts within a tree stay read-only
    _call(_MOUNT_SETATTR, folder, path, options, attributes, len(attributes))


def _call(number: int, *arguments: int | bytes) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return _check(int(_libc.syscall(ctypes.c_long(number), *words)))


def _mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    _check(int(_libc.mount(source, target, kind, ctypes.c_ulong(flags), options)))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
