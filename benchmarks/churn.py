"""Create and delete kdclusters for minutes: does the platform grow?

    python -m benchmarks.churn [--seconds 600]

One kdcluster after the other comes, is configured and goes, on a platform as `labsandbox up` starts
it. The API server keeps the changes of the last five minutes for watches that resume, others keep
the newest thousands of events. When those are full, the memory and the open files of the platform
and its API server are noted every ten seconds, each time after its events were deleted. Compared:
the medians of the first and of the last fifth. What leaks at each of a thousand clusters shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

import psutil

from benchmarks import sandbox
from benchmarks.kubedirector import (
    NAMESPACE,
    count_left,
    create_patiently,
    make_app,
    make_cluster,
    make_package,
    serving,
    time_creation,
)
from benchmarks.report import Figure, save
from labsandbox.client import Client
from labsandbox.client.resources import CONFIGMAPS, EVENTS, KDCLUSTERS, NAMESPACES

WARM, EVERY = 330.0, 10.0
MOST_MEMORY, MOST_FILES = 1.05, 2


def look(platform: psutil.Process) -> tuple[float, int]:
    """Return the megabytes and the open files of the platform and its API server."""
    own = [one for one in platform.children() if "labsandbox.apiserver" in one.cmdline()]
    assert own, "the API server is a process of its own"
    both = [platform, *own]
    return sum(p.memory_info().rss for p in both) / 1e6, sum(p.num_fds() for p in both)


async def churn(state: Path, url: str, seconds: float) -> tuple[int, list[tuple[float, int]], int]:
    """Return how many came and went, memory in MB and files over time, and what is left."""
    platform = psutil.Process(json.loads((state / "platform.json").read_text())["pid"])
    seen: list[tuple[float, int]] = []
    async with Client.from_kubeconfig(state / "admin.conf") as client:
        await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        meta = {"name": "model", "labels": {"kubedirector.hpe.com/cmType": "model"}}
        await client.create(CONFIGMAPS, {"metadata": meta, "data": {}}, NAMESPACE)
        await create_patiently(client, make_app(url))
        begun, count = time.monotonic(), 0
        due = begun + WARM
        while (now := time.monotonic()) < begun + WARM + seconds:
            if now >= due:
                # They are kept for an hour, as by Kubernetes, and are not what leaks.
                await client.delete_all(EVENTS, NAMESPACE)
                seen.append(look(platform))
                due = now + EVERY
            await time_creation(client, make_cluster(f"c{count}"))
            await client.delete(KDCLUSTERS, f"c{count}", NAMESPACE)
            count += 1
        left = await count_left(client)
    return count, seen, left


def figures_of(count: int, seen: list[tuple[float, int]], left: int) -> list[Figure]:
    """Compare the end with the beginning."""
    part = max(len(seen) // 5, 1)
    (first, last), (opened, open_now) = (
        (
            statistics.median(one[what] for one in seen[:part]),
            statistics.median(one[what] for one in seen[-part:]),
        )
        for what in (0, 1)
    )
    growth, files = last / first, open_now - opened
    against = f"{first:.1f} MB after {WARM:.0f} s, {last:.1f} at the end"
    return [
        Figure("kdclusters that came and went", count, "", "", True, f"{len(seen)} looks", 1),
        Figure("memory, end ÷ begin", growth, "x", f"<= {MOST_MEMORY}", growth <= MOST_MEMORY,
               against, 1),
        Figure("open files, end − begin", files, "", f"<= {MOST_FILES}", files <= MOST_FILES,
               f"{opened:.0f}, then {open_now:.0f}", 1),
        Figure("objects left", left, "", "none", not left, "", 1),
    ]  # fmt: skip


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    with sandbox.running("churn") as state, serving(make_package()) as url:
        figures = figures_of(*asyncio.run(churn(state, url, asked.seconds)))
    save("churn", figures)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
