"""A pod's own /dev/shm: POSIX semaphores and shared memory, of the pod and of nobody else.

Each pod has a folder on the machine's /dev/shm; `view.py` mounts it over /dev/shm for the pod's
containers, as one Kubernetes pod shares one. Where the machine refuses mount namespaces /dev/shm
stays closed, but to images that ask for the machine's own (`shared_memory` in the table of images).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from labsandbox import tree
from labsandbox.node import tmpdir

_BASE = Path("/dev/shm")


def make(node: str, uid: str) -> str | None:
    """Make a pod's folder and return it; None on a machine without a /dev/shm to write to."""
    folder = _place(node, uid)
    try:
        tmpdir.ensure(folder)
    except OSError:
        return None
    return str(folder)


def remove(node: str, uid: str = "*") -> None:
    """Remove a pod's folder, or those of all pods of a node."""
    with contextlib.suppress(OSError):
        for folder in _BASE.glob(_place(node, uid).name):
            tree.remove(str(folder))


def _place(node: str, uid: str) -> Path:
    return _BASE / f"labs-{node}-{uid}"
