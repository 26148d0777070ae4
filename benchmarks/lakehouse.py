"""Measure how lab core-03 grows with the number of trips: seconds and peak memory.

    python -m benchmarks.lakehouse [--rows 100000 1000000 10000000 30000000] [--workers 2]

With `--workers`, each size runs on the catalogue's Spark cluster with so many workers, too.
What is measured: all code cells of the lab as one script in a process of its own, with its Java
and the processes it starts; memory is the sum of what they hold, read twice a second. Goals: two
minutes at the lab's default size, and at the largest size below half of the machine's memory plus
one gigabyte for Python.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from benchmarks.replay import script_of
from benchmarks.report import Figure, save
from labrunner import sandbox as platform
from labrunner.curriculum import load
from labsandbox.client import Client
from labsandbox.client.resources import KDCLUSTERS

GIB = 2**30


def held(process: psutil.Process) -> int:
    """Return the bytes a process and all it started hold now, shared ones counted once."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:
            continue
    return total


@contextlib.contextmanager
def spark_cluster(workers: int) -> Iterator[dict[str, str]]:
    """Order a Spark cluster on a platform of its own; return the environment to use it with."""
    with tempfile.TemporaryDirectory() as place, platform.running(Path(place) / "state") as found:
        namespace = Path(found["PROJECT_REPO"]).name
        service = asyncio.run(order(Path(place) / "state" / "admin.conf", namespace, workers))
        address = f"spark://{service}.{namespace}.svc.cluster.local:7077"
        yield platform.merged(dict(os.environ), found) | {"SPARK_MASTER": address}


async def order(kubeconfig: Path, namespace: str, workers: int) -> str:
    """Order the application `spark` of the catalogue; return its master's Service."""
    sizes = {"master": ({"cpu": "250m", "memory": "1Gi"}, 1)}
    sizes["worker"] = ({"cpu": "1", "memory": "6Gi"}, workers)
    roles = [
        {"id": name, "members": members, "resources": {"requests": size, "limits": size}}
        for name, (size, members) in sizes.items()
    ]
    spec = {"app": "spark", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": roles}
    async with Client.from_kubeconfig(kubeconfig) as client:
        await client.create(KDCLUSTERS, {"metadata": {"name": "measured"}, "spec": spec}, namespace)
        deadline = time.monotonic() + 120
        while True:
            status = (await client.get(KDCLUSTERS, "measured", namespace)).get("status", {})
            if status.get("state") == "configured":
                return str(status["roles"][0]["members"][0]["service"])
            if time.monotonic() > deadline:
                raise SystemExit(f"Expected a configured Spark cluster, found {status}.")
            await asyncio.sleep(0.5)


def run(script: str, environment: Mapping[str, str] = os.environ) -> tuple[float, int]:
    """Run a script in a home and a project repository of its own; return seconds, peak bytes."""
    shared = environment.get("PROJECT_REPO")
    with tempfile.TemporaryDirectory(dir=shared) as place:
        env = {**environment, "LABS_HOME": place, "PROJECT_REPO": f"{place}/project"}
        env["MPLBACKEND"] = "agg"
        (Path(place) / "lab.py").write_text(script, "utf-8")
        begun, peak = time.perf_counter(), 0
        with (Path(place) / "words").open("wb") as words:
            command = [sys.executable, f"{place}/lab.py"]
            child = psutil.Popen(command, env=env, stdout=words, stderr=words)
            while True:
                try:
                    child.wait(0.5)
                    break
                except psutil.TimeoutExpired:
                    peak = max(peak, held(child))
        seconds = time.perf_counter() - begun
        if child.returncode:
            said = (Path(place) / "words").read_text("utf-8", "replace")[-3000:]
            raise SystemExit(f"Expected the lab to end with 0, found {child.returncode}:\n{said}")
    return seconds, peak


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [100_000, 200_000, 1_000_000, 10_000_000, 30_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=sizes)
    parser.add_argument("--workers", type=int, default=0)
    asked = parser.parse_args()
    here = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), here]))
    figures: list[Figure] = []
    alone: dict[int, float] = {}
    for rows, seconds, peak, grown in measured(asked.rows, os.environ):
        alone[rows] = seconds
        goal, met = ("<= 120", seconds <= 120) if rows == 200_000 else ("-", True)
        figures.append(Figure(f"seconds, {millions(rows)}", seconds, "s", goal, met, grown, 1))
        bound = psutil.virtual_memory().total // 2 + GIB
        limit = f"<= {bound / GIB:.1f}"
        figures.append(
            Figure(f"memory, {millions(rows)}", peak / GIB, "GiB", limit, peak <= bound, grown, 1)
        )
        save("lakehouse", figures)
    if asked.workers:
        with spark_cluster(asked.workers) as environment:
            for rows, seconds, _, grown in measured(asked.rows, environment):
                label = f"{millions(rows)}, {asked.workers} workers ÷ this machine alone"
                ratio = seconds / alone[rows]
                figures.append(Figure(label, ratio, "x", "-", True, f"{seconds:.0f} s, {grown}", 1))
                save("lakehouse", figures)


def measured(
    sizes: list[int], environment: Mapping[str, str]
) -> Iterator[tuple[int, float, int, str]]:
    """Run the lab at each size; give rows, seconds, peak bytes and how both have grown."""
    curriculum = load()
    before: tuple[float, int] | None = None
    for rows in sorted(sizes):
        script = script_of(curriculum, curriculum.get("core/03"), {"rows": rows})
        seconds, peak = run(script, environment)
        grown = f"{seconds / before[0]:.2f} x, {peak / before[1]:.2f} x" if before else "-"
        yield rows, seconds, peak, grown
        before = seconds, peak


def millions(rows: int) -> str:
    """Name a size."""
    return f"{rows / 1e6:g} M rows"


if __name__ == "__main__":
    main()
