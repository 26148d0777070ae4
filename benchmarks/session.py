"""Compare the start of a labs session with the start of a bare one.

    python -m benchmarks.session [--rounds 5]

What is compared: `labspark.session.session()` (Delta and Iceberg, Java from the wheel) against
`SparkSession.builder.getOrCreate()` with nothing else, started by Spark's own scripts on the same
Java. Each start is a new process, in alternating rounds; the clock runs from after the import of
pyspark until the session is there. Goal: at most half of the bare one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.report import Figure, save
from labspark import jars
from labspark.java import java_home

BARE = """
import time; from pyspark.sql import SparkSession; begun = time.perf_counter()
spark = SparkSession.builder.master("local[*]").getOrCreate()
"""
OURS = """
import time; from pyspark.sql import SparkSession; begun = time.perf_counter()
from labspark.session import session; spark = session("bench")
"""
END = """
ready = time.perf_counter() - begun
java = int(spark._jvm.ProcessHandle.current().pid())
fields = open(f"/proc/{java}/stat").read().rsplit(")", 1)[1].split()
print(ready, (int(fields[11]) + int(fields[12])) / 100); spark.stop()
"""


def start(code: str, place: str) -> tuple[float, float]:
    """Start a session in a process of its own; return seconds until ready, Java's CPU seconds."""
    env = {**os.environ, "JAVA_HOME": str(java_home()), "PROJECT_REPO": place}
    command = [sys.executable, "-c", code + END]
    done = subprocess.run(command, env=env, cwd=place, capture_output=True, text=True, check=True)
    ready, cpu = done.stdout.split()[-2:]
    return float(ready), float(cpu)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    jars.prepare()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.getenv("PYTHONPATH")]))
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as place:
        for _ in range(rounds):
            bare.append(start(BARE, place))
            ours.append(start(OURS, place))
    plain, full = (statistics.median(ready for ready, _ in runs) for runs in (bare, ours))
    ratio = statistics.median(x[0] / y[0] for x, y in zip(ours, bare, strict=True))
    cpu = statistics.median(x[1] / y[1] for x, y in zip(ours, bare, strict=True))
    save(
        "session",
        [
            Figure("ready / bare", ratio, "x", "<= 0.5", ratio <= 0.5, "bare pyspark", rounds),
            Figure("ready", full, "s", "-", True, f"bare: {plain:.2f} s", rounds),
            Figure("Java's CPU / bare", cpu, "x", "-", True, "bare pyspark", rounds),
        ],
    )


if __name__ == "__main__":
    main()
