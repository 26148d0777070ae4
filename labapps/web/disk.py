"""Tell a full disk from every other failure: the cure is another one."""

from __future__ import annotations

import errno
import sqlite3

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Say whether an error means that a disk or a quota is full."""
    if isinstance(error, sqlite3.OperationalError):
        # SQLite says "disk I/O error" when its write-ahead log cannot grow.
        return "full" in str(error) or "disk I/O" in str(error)
    return isinstance(error, OSError) and error.errno in _FULL
