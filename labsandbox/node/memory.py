"""Enforce memory limits: look at what each limited container uses and end the one over it.

Why by looking: the kernel's own limits are control groups, which a laptop's user mostly cannot
make. Looking costs little while there is room and happens more often the fuller a container is.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import time
from typing import TYPE_CHECKING

from labsandbox import quantity
from labsandbox.node import processes
from labsandbox.node.records import RUNNING

if TYPE_CHECKING:
    from labsandbox.node.agent import Agent
    from labsandbox.node.container import Runner

log = logging.getLogger(__name__)

_SLOW, _FAST = 1.0, 0.1
_TRIM_EVERY = 15.0
_CLOSE = 0.5


# differs: memory is looked at up to ten times a second; CPU limits are not enforced.
def limit_of(runner: Runner) -> int | None:
    """Return a container's memory limit in bytes."""
    limits = (runner.spec.get("resources") or {}).get("limits") or {}
    return int(quantity.amount(limits["memory"])) if "memory" in limits else None


def usage(pids: list[int], limit: int) -> int:
    """Return what processes use together; pages they share count once when it matters."""
    resident = sum(processes.resident(pid) for pid in pids)
    if resident <= limit:
        return resident
    return sum(processes.proportional(pid) for pid in pids)


async def watch(agent: Agent) -> None:
    """Keep all containers of a node within their limits, for ever."""
    trimmed = 0.0
    while True:
        fullest = 0.0
        for worker in list(agent.workers.values()):
            for runner in worker.runners.values():
                if runner.record.state == RUNNING and (limit := limit_of(runner)):
                    fullest = max(fullest, _check(runner, limit))
        if time.monotonic() - trimmed > _TRIM_EVERY:
            trimmed = time.monotonic()
            _give_back()
        await asyncio.sleep(_FAST if fullest > _CLOSE else _SLOW)


def _give_back() -> None:
    """Return freed memory to the machine: a burst of pods leaves holes nobody fills again."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _check(runner: Runner, limit: int) -> float:
    pids = processes.descendants(runner.record.pid)
    used = usage(pids, limit)
    if used > limit:
        log.info("%s uses %d of %d bytes", runner.identifier, used, limit)
        runner.record.is_oom = True
        processes.send(pids, 9)
    return used / limit
