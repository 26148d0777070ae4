"""Enforce memory limits: look at what each limited container uses and end the one over it.

Why by looking: the kernel's own limits are control groups, which a laptop's user mostly cannot
make. Looking costs little while there is room and happens more often the fuller a container is.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import time
from pathlib import Path

from labsandbox.node import processes, storage
from labsandbox.node.environment import memory_limit
from labsandbox.node.records import RUNNING
from labsandbox.node.roles import Container, Node

log = logging.getLogger(__name__)

# differs: memory is looked at up to ten times a second; CPU limits are not enforced.
_SLOW, _FAST = 1.0, 0.1
_TRIM_EVERY = 15.0
_CLOSE = 0.5


def usage(pids: list[int], limit: int, files: int = 0) -> int:
    """Return what processes use together; pages they share count once when it matters.

    Files in the pod's /dev/shm are memory, too, whether a process has them mapped or not.
    """
    resident = sum(processes.resident(pid) for pid in pids)
    if resident + files <= limit:
        return resident + files
    return sum(processes.proportional(pid, has_shmem=not files) for pid in pids) + files


async def watch(agent: Node) -> None:
    """Keep all containers of a node within their limits, for ever."""
    trimmed = 0.0
    numbers = processes.Numbers()
    while True:
        fullest = 0.0
        found: dict[int, list[int]] | None = None
        for worker in list(agent.workers.values()):
            for runner in worker.runners.values():
                if runner.record.state == RUNNING and (limit := memory_limit(runner.spec)):
                    if found is None:
                        found = await asyncio.to_thread(numbers.look)
                    fullest = max(fullest, await asyncio.to_thread(_check, runner, limit, found))
        if time.monotonic() - trimmed > _TRIM_EVERY:
            trimmed = time.monotonic()
            _give_back()
        await asyncio.sleep(_FAST if fullest > _CLOSE else _SLOW)


def _give_back() -> None:
    """Return freed memory to the machine: a burst of pods leaves holes nobody fills again."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def members(runner: Container, numbers: dict[int, list[int]]) -> list[int]:
    """Return a running container's processes: the tree below the first one, and who left it."""
    mark = processes.number_of(runner.pod.agent.surroundings.mark, runner.identifier)
    main = runner.record.pid  # 0 when it has ended just now
    tree = processes.descendants(main) if main else []
    return list(dict.fromkeys([*tree, *numbers.get(mark, [])]))


def _check(runner: Container, limit: int, numbers: dict[int, list[int]]) -> float:
    files = storage.used((Path(runner.pod.shm),)) if runner.pod.shm else 0
    used = usage(members(runner, numbers), limit, files) if limit else 0
    if limit and used > limit:
        log.info("%s uses %d of %d bytes", runner.identifier, used, limit)
        runner.record.is_oom = True
        # Asked anew: an id remembered for too long may be somebody else's by now.
        processes.send(members(runner, processes.Numbers().look()), signal.SIGKILL)
    return used / limit if limit else 0
