"""The processes below one, from what the kernel tells in `/proc`.

Standard library only: each learner's warden imports it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def descendants(root: int) -> list[int]:
    """Return the processes below one, in no order; those that end meanwhile are left out."""
    children_of = _listed if _is_listed() else _parents_read()
    found, open_ends = [], [root]
    while open_ends:
        children = children_of(open_ends.pop())
        found += children
        open_ends += children
    return found


def _is_listed() -> bool:
    """Tell whether the kernel lists each thread's children (CONFIG_PROC_CHILDREN)."""
    return os.path.exists("/proc/thread-self/children")


def _listed(pid: int) -> list[int]:
    """Return a process's children: a few files to read, however many processes the host has."""
    children: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended
            children += map(int, file.read_text().split())
    return children


def _parents_read() -> Callable[[int], list[int]]:
    """Read the parent of every process of the host; return what looks children up."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                # The name stands in parentheses and may hold anything, spaces included.
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    return lambda pid: children.get(pid, [])
