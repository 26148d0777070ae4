"""Measure how fast trips are made on one core, and whether memory stays flat.

    python -m benchmarks.generator [--rows 1000000 5000000 50000000]

What is measured: `labs data taxi`'s own function, writing Parquet, in a process that may use one
core only, start-up and look-up tables included. Goals: at least 1.5 million rows a second, and
peak memory at the largest number of rows at most 1.1 times that at the smallest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from benchmarks.report import Figure, save

CODE = """
import os, resource, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from labdata.taxi import Order, write_trips
begun, cpu = time.perf_counter(), time.process_time()
write_trips(sys.argv[2], Order(int(sys.argv[1]), months=3, seed=1))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - begun, time.process_time() - cpu, peak)
"""


def make(rows: int) -> tuple[float, float, float]:
    """Make so many trips; return rows a second by the clock, by CPU time, and the peak in MB."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-c", CODE, str(rows), place]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place, exist_ok=True)
    wall, cpu, peak = map(float, done.stdout.split())
    return rows / wall, rows / cpu, peak


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [1_000_000, 5_000_000, 50_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=sizes)
    sizes = sorted(parser.parse_args().rows)
    runs = {rows: make(rows) for rows in sizes}
    figures = []
    for rows, (by_clock, by_cpu, peak) in runs.items():
        last = rows == sizes[-1]
        goal = ">= 1.5" if last else "-"
        against = f"{by_cpu / 1e6:.2f} M rows per CPU second"
        met = not last or by_clock >= 1.5e6
        label = f"{rows / 1e6:g} M rows"
        figures.append(Figure(f"speed, {label}", by_clock / 1e6, "M rows/s", goal, met, against, 1))
        figures.append(Figure(f"peak memory, {label}", peak, "MB", "-", True, "-", 1))
    growth = runs[sizes[-1]][2] / runs[sizes[0]][2]
    against = f"{sizes[0] / 1e6:g} M rows"
    figures.append(Figure("memory growth", growth, "x", "<= 1.1", growth <= 1.1, against, 1))
    save("generator", figures)


if __name__ == "__main__":
    main()
