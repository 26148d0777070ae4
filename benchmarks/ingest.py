"""Compare writing trips into a Delta table with writing the same frame as plain Parquet.

    python -m benchmarks.ingest [--rows 5000000] [--rounds 5]

What is compared: a Delta table as lab core-03 writes it, with the smallest and largest values of
the two columns it filters by, against `frame.write.parquet`: the same frame read from the same raw
files, in one session, in alternating rounds after a round to warm up. Goal: at most 1.15 times.
Beside it what Delta does unasked, the values of all columns: that is most of its extra work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, save

FILTERED_BY = "tpep_pickup_datetime,PULocationID"


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["PROJECT_REPO"] = place
        from labdata.taxi.loader import make_trips, read_trips
        from labspark.session import session

        spark = session("bench")
        frame = read_trips(spark, make_trips(Path(place) / "lake", asked.rows))
        ways: dict[str, tuple[str, dict[str, str]]] = {
            "parquet": ("parquet", {}),
            "delta": ("delta", {"delta.dataSkippingStatsColumns": FILTERED_BY}),
            "all": ("delta", {}),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(asked.rounds + 1):
            for way, (kind, options) in ways.items():
                target = Path(place) / way
                shutil.rmtree(target, ignore_errors=True)
                begun = time.perf_counter()
                frame.write.format(kind).options(**options).save(str(target))
                if number:
                    seconds[way].append(time.perf_counter() - begun)
        spark.stop()
    plain, delta = (statistics.median(seconds[way]) for way in ("parquet", "delta"))
    ratio, everything = (
        statistics.median(x / y for x, y in zip(seconds[way], seconds["parquet"], strict=True))
        for way in ("delta", "all")
    )
    against, rounds = f"Parquet: {plain:.2f} s", asked.rounds
    save(
        "ingest",
        [
            Figure("Delta / Parquet", ratio, "x", "<= 1.15", ratio <= 1.15, against, rounds),
            Figure("with values of all columns", everything, "x", "-", True, against, rounds),
            Figure("Delta", delta, "s", "-", True, against, rounds),
        ],
    )


if __name__ == "__main__":
    main()
