"""Confine a process to chosen folders with Landlock, the kernel's sandbox for the unprivileged.

Standard library only: the keeper imports this, and the keeper has to stay small. Where the kernel
has no Landlock, `abi` is 0, nothing is confined, and the node says so in a condition.

Also a program, for whoever confines something that is no pod:

    python -m labsandbox.node.landlock --read /usr --write "$HOME" [--tight] -- command …
    python -m labsandbox.node.landlock --abi

It becomes the command, or ends with 3 and a sentence where the kernel cannot confine it. `--tight`
also takes every capability away, the sockets and calls through which a confined program could ask
an unconfined one to act for it (`syscalls.py`), and the modes and owners of all files that are not
its own (`view.py`, where the machine lets).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Collection, Iterable, Sequence

from labsandbox import tree

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
# Of what container runtimes leave to root in a container, this alone opens no way past Landlock:
# with mknod one makes a file that is the machine's disk, with chown, fowner, fsetid, dac_override,
# setuid and setgid one is the owner of other people's files, whose modes Landlock does not guard.
_KEPT_CAPABILITIES = {10}  # net_bind_service
_LAST_CAPABILITY = 63

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
TRUNCATE = 3  # the version from which a path is cut short by those alone who may write there
SCOPES = 6  # the version that also keeps signals and abstract sockets apart
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def abi() -> int:
    """Return the version of Landlock the kernel offers, 0 for none."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def _all_access(version: int) -> int:
    access = (1 << 13) - 1
    access |= _REFER if version >= 2 else 0
    access |= _TRUNCATE if version >= 3 else 0
    access |= _IOCTL_DEV if version >= 5 else 0
    return access


def create(read: Iterable[str | Sequence[str]], write: Iterable[str | Sequence[str]]) -> int | None:
    """Make a ruleset that allows these trees and nothing else; return its file descriptor.

    A tree is given by its route (`labsandbox/tree.py`), and allowed is what the route leads to now,
    whatever is put in its place later.
    """
    version = abi()
    if not version:
        return None
    everything = _all_access(version)
    scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if version >= SCOPES else 0
    attributes = struct.pack("=QQQ", everything, 0, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))
    for routes, access in ((read, _READ), (write, everything & ~(_MAKE_CHAR | _MAKE_BLOCK))):
        for route in routes:
            _allow(ruleset, route, access & everything)
    return ruleset


def _allow(ruleset: int, route: Sequence[str], access: int) -> None:
    try:
        folder = tree.open_route(route)
    except OSError:
        return  # What does not exist, or leads outside, gets no permission.
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            access &= _FILE_ONLY
        rule = struct.pack("=Qi", access, folder)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint(0))
    finally:
        os.close(folder)


def enter(ruleset: int) -> None:
    """Confine this process and all it starts; there is no way back."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))


def drop_capabilities(kept: Collection[int] = frozenset(_KEPT_CAPABILITIES)) -> None:
    """Leave root, from its next program on, no more than a container's root has.

    Some capabilities go round Landlock: with perfmon one reads any process's environment.
    """
    if os.geteuid() != 0:
        return
    for capability in range(_LAST_CAPABILITY + 1):
        if capability not in kept:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def main(words: list[str] | None = None) -> int:
    """Confine this process and become the command; return only when that cannot be."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m labsandbox.node.landlock")
    parser.add_argument("--read", action="append", default=[], metavar="PATH")
    parser.add_argument("--write", action="append", default=[], metavar="PATH")
    parser.add_argument("--tight", action="store_true", help="no capabilities, no unix sockets")
    parser.add_argument("--abi", action="store_true", help="print the kernel's version of Landlock")
    parser.add_argument("command", nargs="*")
    given = parser.parse_args(words)
    if given.abi:
        print(abi())
        return 0
    if not given.command:
        parser.error("Expected a command after --, found none.")
    read, write = [(path,) for path in given.read], [(path,) for path in given.write]
    ruleset = create(read, write)
    if ruleset is None:
        return _complain(
            3,
            "Expected a kernel with Landlock (Linux 5.13 or newer, `landlock` in its boot option "
            "lsm=), found none: nothing would be confined. Nothing was started.",
        )
    if given.tight:
        from labsandbox.node import syscalls, view

        if view.is_possible():
            os.close(ruleset)
            view.enter(write)
            ruleset = create(read, write)
            assert ruleset is not None
        drop_capabilities(kept=())
        enter(ruleset)
        syscalls.refuse(truncate=True)
    else:
        drop_capabilities()
        enter(ruleset)
    os.close(ruleset)
    try:
        os.execvp(given.command[0], given.command)
    except OSError as error:
        return _complain(127, f"Expected a program to start, found {given.command[0]}: {error}.")


def _complain(status: int, sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
