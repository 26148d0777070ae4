"""Bound what a process of the platform may take, and let the kernel end it last.

A request nobody foresaw then fails with MemoryError in the process it came to, and takes neither
the other processes nor the machine with it. When memory runs out all the same, the kernel ends a
learner's pod first and the platform last. Standard library only: the keeper imports this.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator

MOST_BYTES = 2 << 30
AT_ITS_BOUND = 70
"""The exit code of a process that ends because it has reached its bound."""
REACHED = "the bound of memory is reached"
_OURS, _PODS = "-500", "900"


def protect(most: int = MOST_BYTES) -> None:
    """Bound the memory of this process and lower its score with the kernel's OOM killer."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    # The hard limit stays: what the keeper starts for learners has limits of its own.
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    _score(_OURS)


def release() -> None:
    """Take the platform's bounds off a process that becomes a pod's, the first to be ended."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    _score(_PODS)


def is_reached() -> bool:
    """Tell whether this process holds so much that it cannot go on: nine tenths of its bound."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return soft != resource.RLIM_INFINITY and _held() > soft - soft // 10


def check() -> None:
    """Raise MemoryError when the bound is reached."""
    if is_reached():
        raise MemoryError


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """End this process when memory runs out in what it does."""
    try:
        yield
    except MemoryError:
        print(f"{REACHED}; this process ends, to begin anew", file=sys.stderr, flush=True)
        os._exit(AT_ITS_BOUND)


def _held() -> int:
    """Return the bytes that the bound counts."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmData:"):
                return int(line.split()[1]) << 10
    return 0


def _score(text: str) -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(text)
    except OSError:
        return  # an ordinary user may not lower it; 0 is below a pod's as well
