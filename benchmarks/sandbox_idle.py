"""200 sleeping pods: what the sandbox's own processes hold and use while nothing happens.

    python -m benchmarks.sandbox_idle [--pods 200] [--seconds 30]

Started as `labsandbox up` starts it: the API server, one process with everything else, the keeper.
The pods' own processes do not count; what runs them does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import sandbox
from benchmarks.report import Figure, save
from labsandbox.client import Client
from labsandbox.client.resources import NAMESPACES, PODS

MEMORY_LIMIT_MB, CPU_LIMIT = 150, 3.0
NAMESPACE = "sleepers"


def sleeper(name: str) -> dict[str, Any]:
    container = {"name": "sleep", "image": "pause:3.9"}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


async def start_pods(state: Path, count: int) -> float:
    """Create the pods and return how long it took until all run."""
    async with Client.from_kubeconfig(state / "admin.conf") as client:
        await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            accounts = await client.request(
                "GET", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
            )
            if accounts["items"]:
                break
            await asyncio.sleep(0.02)
        begin = time.perf_counter()
        limit = asyncio.Semaphore(8)

        async def create(number: int) -> None:
            async with limit:
                await client.create(PODS, sleeper(f"sleeper-{number}"), NAMESPACE)

        await asyncio.gather(*(create(number) for number in range(count)))
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            pods = await client.list(PODS, NAMESPACE)
            if sum((p.get("status") or {}).get("phase") == "Running" for p in pods) == count:
                return time.perf_counter() - begin
            await asyncio.sleep(0.2)
        raise SystemExit(f"not all of {count} pods were running after 180 s")


def own_processes(state: Path) -> list[psutil.Process]:
    """Return the sandbox's processes: those that name its folder, and their Python children."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if words and "python" in words[0] and any(str(state) in word for word in words):
            found.append(process)
    return found


def usage(processes: list[psutil.Process]) -> tuple[dict[int, float], float]:
    """Return each process's memory in MB (shared pages divided) and their CPU seconds together."""
    memory = {p.pid: p.memory_full_info().pss / 1e6 for p in processes}
    return memory, sum(sum(p.cpu_times()[:2]) for p in processes)


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    with sandbox.running("idle") as state:
        took = asyncio.run(start_pods(state, arguments.pods))
        # Two pauses: let what starting left behind settle, then measure the idle time.
        for pause in (5.0, arguments.seconds):
            processes = own_processes(state)
            _, before = usage(processes)
            begin = time.monotonic()
            while (left := begin + pause - time.monotonic()) > 0:
                time.sleep(left)
            memory, after = usage(processes)
            percent = 100 * (after - before) / (time.monotonic() - begin)
        for process in processes:
            print(f"{memory[process.pid]:8.1f} MB  {' '.join(process.cmdline())[:90]}")
    total = sum(memory.values())
    pods = arguments.pods
    figures = [
        Figure(
            f"memory of the sandbox's own processes, {pods} pods",
            round(total, 1),
            "MB",
            f"under {MEMORY_LIMIT_MB}",
            total < MEMORY_LIMIT_MB,
            "limit",
            1,
        ),
        Figure(
            f"idle CPU, {pods} pods",
            round(percent, 2),
            "% of a core",
            f"under {CPU_LIMIT:g}",
            percent < CPU_LIMIT,
            "limit",
            1,
        ),
        Figure(f"{pods} pods, created until all run", round(took, 2), "s", "none", True, "", 1),
    ]
    save("sandbox_idle", figures)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
