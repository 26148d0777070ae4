"""The process that a part of the platform belongs to: when it is gone, so is the part."""

from __future__ import annotations

import asyncio
import contextlib

import psutil

_LOOK_SECONDS = 0.5


async def until_gone(pid: int) -> None:
    """Return when a process has ended, whoever started it and whether or not it was waited for."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(_LOOK_SECONDS)
