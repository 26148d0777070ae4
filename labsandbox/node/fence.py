"""Confine a child of the keeper before it becomes a program: all fences, in the one right order.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os
from typing import Any

from labsandbox import tree
from labsandbox.node import landlock, syscalls, view


def enter(spec: dict[str, Any], has_view: bool) -> None:
    """Give this process what its spec allows and nothing else, in the folder it starts in."""
    ruleset = None
    if spec.get("confine"):
        own = spec.get("shm") if has_view else None
        if has_view:
            view.enter(spec["write"], own)
        # After the view: what was opened before it lies on mounts this process no longer has.
        shared = [("/dev/shm",)] if own or spec.get("share_shm") else []
        ruleset = landlock.create(spec["read"], [*spec["write"], *shared])
    landlock.drop_capabilities()
    os.fchdir(tree.open_route(spec["cwd"]))
    if ruleset is not None:
        landlock.enter(ruleset)
    syscalls.refuse(
        sockets=not spec.get("sockets"),
        truncate=landlock.abi() < landlock.TRUNCATE,
        chown=not has_view and os.geteuid() != 0,
    )
