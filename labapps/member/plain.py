"""Run a program as somebody who is not root: PostgreSQL refuses root, and a pod may be it.

In a user namespace without a mapping a program of root's is told that it is nobody, and so are the
owners of its files; nothing else changes, and no right is needed. Container engines refuse such
namespaces, but let root become somebody else: there the program is `nobody` in truth, and gets the
folder of its data and its standard input.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

from labapps.member.programs import end_with_parent

__all__ = ["become_plain", "command"]

NEW_USER = 0x10000000
NOBODY = 65534


def command(data: Path, program: Path, *words: str) -> list[str]:
    """Return the command line of a program that owns a folder of data and is not root."""
    return [sys.executable, "-m", "labapps.member.plain", str(data), str(program), *words]


def become_plain(data: Path) -> None:
    """Stop being root; somebody who is not root stays who they are."""
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(ctypes.c_int(NEW_USER)) == 0:
        return
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (data, *data.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        with contextlib.suppress(OSError):  # a pipe is opened again by its name, /dev/stdin
            os.fchown(0, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except PermissionError as error:
        sys.exit(
            "Expected a user that this program may run as; found root, who may neither open a user "
            f"namespace here nor become another user: {error}. Start the platform as an ordinary "
            "user, or run the container with the capabilities CHOWN, SETUID and SETGID."
        )


def main() -> None:
    """`python -m labapps.member.plain <folder of data> <program> …`"""
    data, *words = sys.argv[1:]
    become_plain(Path(data))
    end_with_parent()  # a change of the user makes the kernel forget it
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
