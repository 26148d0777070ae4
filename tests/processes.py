"""What a process was started with; one that ends while it is looked at has nothing to say."""

from __future__ import annotations

import psutil

__all__ = ["environment_of", "words_of"]


def words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line, an empty one when it is gone or was not yet reaped."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Return a process's environment, an empty one when it is gone or was not yet reaped."""
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}
