"""Measure how lab core-03 grows with the number of trips: seconds and peak memory.

    python -m benchmarks.lakehouse [--rows 100000 1000000 10000000 30000000]

What is measured: all code cells of the lab as one script in a process of its own, with its Java
and the processes it starts; memory is the sum of what they hold, read twice a second. Goals: two
minutes at the lab's default size, and at the largest size below half of the machine's memory plus
one gigabyte for Python.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.replay import script_of
from benchmarks.report import Figure, save
from labrunner.curriculum import load

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


def run(script: str) -> tuple[float, int]:
    """Run a script in a home and a project repository of its own; return seconds, peak bytes."""
    with tempfile.TemporaryDirectory() as place:
        env = {**os.environ, "LABS_HOME": place, "PROJECT_REPO": f"{place}/project"}
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
    curriculum = load()
    lab = curriculum.get("core/03")
    here = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), here]))
    bound = psutil.virtual_memory().total // 2 + GIB
    figures: list[Figure] = []
    before: tuple[float, int] | None = None
    for rows in sorted(parser.parse_args().rows):
        seconds, peak = run(script_of(curriculum, lab, {"rows": rows}))
        label = f"{rows / 1e6:g} M rows"
        grown = f"{seconds / before[0]:.2f} x, {peak / before[1]:.2f} x" if before else "-"
        goal, met = ("<= 120", seconds <= 120) if rows == 200_000 else ("-", True)
        figures.append(Figure(f"seconds, {label}", seconds, "s", goal, met, grown, 1))
        limit = f"<= {bound / GIB:.1f}"
        held_most = peak / GIB
        figures.append(Figure(f"memory, {label}", held_most, "GiB", limit, peak <= bound, grown, 1))
        before = seconds, peak
        save("lakehouse", figures)


if __name__ == "__main__":
    main()
