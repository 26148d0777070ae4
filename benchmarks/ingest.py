"""Compare writing trips into a Delta table with writing the same frame as plain Parquet.

    python -m benchmarks.ingest [--rows 5000000] [--rounds 5]

What is compared: `frame.write.format("delta")` against `frame.write.parquet`, the same frame read
from the same raw files, in one session, in alternating rounds after a round to warm up. The extra
work of Delta is the log and the smallest and largest values. Goal: at most 1.15 times.
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
        seconds: dict[str, list[float]] = {"parquet": [], "delta": []}
        for number in range(asked.rounds + 1):
            for kind, taken in seconds.items():
                target = Path(place) / kind
                shutil.rmtree(target, ignore_errors=True)
                begun = time.perf_counter()
                frame.write.format(kind).save(str(target))
                if number:
                    taken.append(time.perf_counter() - begun)
        spark.stop()
    pairs = zip(seconds["delta"], seconds["parquet"], strict=True)
    ratio = statistics.median(delta / parquet for delta, parquet in pairs)
    delta, parquet = (statistics.median(seconds[kind]) for kind in ("delta", "parquet"))
    save(
        "ingest",
        [
            Figure("Delta / Parquet", ratio, "x", "<= 1.15", ratio <= 1.15, "plain", asked.rounds),
            Figure("Delta", delta, "s", "-", True, f"Parquet: {parquet:.2f} s", asked.rounds),
        ],
    )


if __name__ == "__main__":
    main()
