"""Find the patterns of a thousand devices, and be fast in a kernel that has just begun.

    python -m benchmarks.fleet_profiles [--devices 1000] [--rounds 3]

Three figures. A new process imports stumpy and calls `stump` once, with the compiled code that
set-up keeps, and once without it: the goal is at most 1.5 s after the import. Then a new Spark
session makes the matrix profile of each device's day, in groups, as lab logistics-03 does: the
first time in a session in at most 20 s on two cores. What the devices send is made before the
clock starts. Beside it stand the seconds of processor time of all processes, which a busy machine
changes less, and those of the bare calls of `stump`, below which nobody comes. The third: four
kernels at once each take at most three times as long as one alone; on two cores twice is what one
must expect.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import psutil

from benchmarks.report import Figure, save

FIRST = """
import time
import numpy as np, stumpy
from labspark.compiled import keep_compiled
keep_compiled(stumpy)
series = np.random.default_rng(1).normal(size=1440).cumsum()
begun = time.perf_counter()
stumpy.stump(series, 60)
print(time.perf_counter() - begun)
"""
MANY = """
import sys, time
import numpy as np, stumpy
from labspark.compiled import keep_compiled
keep_compiled(stumpy)
series = np.random.default_rng(1).normal(size=1440).cumsum()
stumpy.stump(series, 60)
print("ready", flush=True)
sys.stdin.readline()
begun = time.perf_counter()
for _ in range(300):
    stumpy.stump(series, 60)
print(time.perf_counter() - begun)
"""
SHAPE = "device_id string, first int, second int, distance double"


def first_stump(cache: str | None = None) -> float:
    """Return the seconds of the first `stump` of a new process."""
    more = {} if cache is None else {"LABS_CACHE": cache}
    words = [sys.executable, "-W", "ignore", "-c", FIRST]
    done = subprocess.run(words, env=os.environ | more, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def side_by_side(kernels: int) -> float:
    """Return the seconds that kernels take for 300 profiles each, all at the same time."""
    words = [sys.executable, "-W", "ignore", "-c", MANY]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(words, text=True, stdin=pipe, stdout=pipe) for _ in range(kernels)]
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    for one in started:  # all are ready: begin together
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    answers = [one.communicate()[0] for one in started]
    return statistics.mean(float(answer.strip()) for answer in answers)


def processor_seconds() -> float:
    """Return the processor time of this process and of all that it started, Java's workers too."""
    us = psutil.Process()
    spent = us.cpu_times().user + us.cpu_times().system
    for process in us.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return float(spent)


def bare_seconds(series: list[np.ndarray]) -> float:
    """Return the processor time of `stump` alone, called for each series in this process."""
    import stumpy

    from labspark.compiled import keep_compiled

    keep_compiled(stumpy)
    stumpy.stump(series[0], 60)
    begun = time.process_time()
    for one in series:
        stumpy.stump(one, 60)
    return time.process_time() - begun


def profile_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return where a device's day repeats itself."""
    import stumpy

    from labspark.compiled import keep_compiled

    keep_compiled(stumpy)
    rows = rows.sort_values("event_ts")
    found = stumpy.stump(rows["iot_signal_1"].to_numpy(), 60)
    at = int(found.P_.argmin())
    answer = [rows["device_id"].iloc[0], at, int(found.I_[at]), float(found.P_[at])]
    return pd.DataFrame([answer], columns=["device_id", "first", "second", "distance"])


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    first_stump()  # fills the cache, when set-up has not
    kept = statistics.median(first_stump() for _ in range(asked.rounds))
    with tempfile.TemporaryDirectory() as empty:
        compiled = first_stump(empty)
    four, alone = side_by_side(4), side_by_side(1)
    with tempfile.TemporaryDirectory() as place:
        from labdata.fleet import day_of

        wanted = ["device_id", "event_ts", "iot_signal_1"]
        days = pd.concat([day_of(7, device)[wanted] for device in range(asked.devices)])
        days.to_parquet(f"{place}/days.parquet", row_group_size=100_000)
        os.environ["PROJECT_REPO"] = place
        from labspark.session import session

        spark = session("bench")
        spark.range(10).count()
        spent, worked = [], []
        for _ in range(2):
            begun, before = time.perf_counter(), processor_seconds()
            frame = spark.read.parquet(f"{place}/days.parquet")
            found = frame.groupBy("device_id").applyInPandas(profile_of, SHAPE).toPandas()
            spent.append(time.perf_counter() - begun)
            worked.append(processor_seconds() - before)
            if len(found) != asked.devices:
                sys.exit(f"Expected {asked.devices} profiles, found {len(found)}.")
        spark.stop()
        lanes = [rows["iot_signal_1"].to_numpy() for _, rows in days.groupby("device_id")]
    bare = bare_seconds(lanes)
    goal = 20.0 * asked.devices / 1000
    name = f"profiles of {asked.devices:,} devices, first in a session"
    busy = f"processor time {worked[0]:.1f} s, then {worked[1]:.1f} s; stump alone {bare:.1f} s"
    warm = f"{spent[1]:.1f} s the second time; {busy}"
    without = f"{compiled:.1f} s without kept code"
    save(
        "fleet_profiles",
        [
            Figure("first stump of a new kernel", kept, "s", "<= 1.5 s", kept <= 1.5, without,
                   asked.rounds),
            Figure("without kept code ÷ with it", compiled / kept, "x", ">= 5",
                   compiled / kept >= 5, without, asked.rounds),
            Figure("four kernels at once ÷ one alone", four / alone, "x", "<= 3",
                   four / alone <= 3, f"{alone:.2f} s alone, 300 profiles", 1),
            Figure(name, spent[0], "s", f"<= {goal:g} s", spent[0] <= goal, warm, 1),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
