"""Measure what containers use, for `kubectl top`: the figures of a kubelet's /stats/summary.

CPU time is counted by process. What ends between two looks is found in its parent's count of ended
children; time of an orphan that ends between two looks is lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labsandbox.node import memory, processes
from labsandbox.node.records import RUNNING
from labsandbox.node.roles import Container, Node

log = logging.getLogger(__name__)

Object = dict[str, Any]

LOOK_SECONDS = 5.0
_NANO = 10**9


@dataclass
class Meter:
    """What one container has used so far, and how fast it did lately."""

    times: dict[int, tuple[float, float]] = field(default_factory=dict)
    seconds: float = 0.0
    cores: float = 0.0
    memory: int = 0
    looked_at: float = 0.0
    is_new: bool = True

    def add(self, times: dict[int, tuple[float, float]], used: int, now: float) -> None:
        """Take the CPU times (own, of ended children) of all processes as they are now."""
        gained = _gain(self.times, times)
        if self.looked_at and now > self.looked_at:
            self.cores = gained / (now - self.looked_at)
            self.is_new = False
        self.seconds += gained
        self.times, self.memory, self.looked_at = times, used, now


def _gain(before: dict[int, tuple[float, float]], now: dict[int, tuple[float, float]]) -> float:
    """Return the CPU time between two looks, that of processes which ended meanwhile included."""
    own = children = 0.0
    for pid, (mine, ended) in now.items():
        was_mine, was_ended = before.get(pid, (0.0, 0.0))
        own += max(0.0, mine - was_mine)
        children += max(0.0, ended - was_ended)
    # What ended is in its parent's count with all its time, of which we have counted a part.
    known = sum(mine + ended for pid, (mine, ended) in before.items() if pid not in now)
    return own + max(0.0, children - known)


class Usage:
    """The meters of a node's running containers, and of the node itself."""

    def __init__(self, agent: Node) -> None:
        self.agent = agent
        self.meters: dict[str, Meter] = {}
        self.node = Meter()
        self._numbers = processes.Numbers()

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            try:
                # On a thread: the pages of a large program take a while to count.
                await asyncio.to_thread(self.look)
            except (OSError, ValueError, LookupError):
                log.exception("the usage of containers cannot be measured")
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Read every meter once."""
        now = time.time()
        numbers = self._numbers.look()
        running = {r.identifier: r for r in self._runners()}
        meters = {name: m for name, m in self.meters.items() if name in running}
        for name, runner in running.items():
            pids = memory.members(runner, numbers)
            times = {pid: processes.cpu_times(pid) for pid in pids}
            used = sum(processes.proportional(pid) for pid in pids)
            meters.setdefault(name, Meter()).add(times, used, now)
        self.meters = meters
        self.node.add({0: (_machine_seconds(), 0.0)}, _machine_memory(), now)

    def _runners(self) -> list[Container]:
        return [
            runner
            for worker in list(self.agent.workers.values())
            for runner in worker.runners.values()
            if runner.record.state == RUNNING
        ]

    def summary(self) -> Object:
        """Return what a kubelet answers at /stats/summary; what was looked at once is left out."""
        pods, meters = [], self.meters
        for worker in self.agent.workers.values():
            containers = [
                {"name": runner.name, **_figures(meters[runner.identifier])}
                for runner in worker.runners.values()
                if runner.record.state == RUNNING
                and not meters.get(runner.identifier, Meter()).is_new
            ]
            meta = worker.record
            reference = {"name": meta.name, "namespace": meta.namespace, "uid": worker.uid}
            if containers:
                pods.append({"podRef": reference, "containers": containers})
        return {"node": {"nodeName": self.agent.name, **_figures(self.node)}, "pods": pods}


def _figures(meter: Meter) -> Object:
    moment = datetime.fromtimestamp(meter.looked_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "cpu": {
            "time": moment,
            "usageNanoCores": round(meter.cores * _NANO),
            "usageCoreNanoSeconds": round(meter.seconds * _NANO),
        },
        "memory": {"time": moment, "workingSetBytes": meter.memory},
    }


def _machine_seconds() -> float:
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, words)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _machine_memory() -> int:
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found["MemTotal"] - found["MemAvailable"]
