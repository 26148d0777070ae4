"""Compare writing a fleet into an Iceberg table with writing the same frame as plain Parquet.

    python -m benchmarks.fleet_ingest [--rows 5000000] [--rounds 5]

What is compared: a new Iceberg table against a folder of Parquet files, the same frame of twelve
columns made by Spark's own expressions, in one session, in alternating rounds after a round to warm
up. The extra work of Iceberg is manifests, metadata and the bounds of columns. Goal: at most 1.15
times.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from benchmarks.report import Figure, save


def rows_of(spark: SparkSession, count: int) -> DataFrame:
    """Return rows like those of a fleet, of a thousand devices."""
    signals = [f"5 + sin(id / {100 + n}) + randn({n}) AS iot_signal_{n}" for n in (1, 2, 3, 4)]
    return spark.range(count).selectExpr(
        "id",
        "concat('0x1000000000', lpad(hex(id % 1000), 3, '0')) AS device_id",
        "element_at(array('Northline', 'Prairie Instruments', 'Waypost'), int(id % 3) + 1) "
        "AS manufacturer",
        "element_at(array('driving', 'standing', 'tank low'), int(id % 7 % 3) + 1) AS event_type",
        "timestamp_seconds(1772409600 + id / 1000 * 60) AS event_ts",
        "-93 + randn(5) AS longitude",
        "41 + randn(6) AS latitude",
        *signals,
        "int(rand(8) < 0.1) AS iot_failure",
    )


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["PROJECT_REPO"] = place
        from labspark.session import session

        spark = session("bench")
        spark.sql("CREATE NAMESPACE IF NOT EXISTS ice.bench")
        frame = rows_of(spark, asked.rows)
        target = Path(place) / "parquet"

        def parquet() -> None:
            frame.write.parquet(str(target))

        def iceberg() -> None:
            frame.writeTo("ice.bench.fleet").using("iceberg").create()

        seconds: dict[str, list[float]] = {"parquet": [], "iceberg": []}
        for number in range(asked.rounds + 1):
            for kind, write in {"parquet": parquet, "iceberg": iceberg}.items():
                shutil.rmtree(target, ignore_errors=True)
                spark.sql("DROP TABLE IF EXISTS ice.bench.fleet PURGE")
                begun = time.perf_counter()
                write()
                if number:
                    seconds[kind].append(time.perf_counter() - begun)
        if spark.table("ice.bench.fleet").count() != asked.rows:
            raise SystemExit("The table does not have all rows.")
        spark.stop()
    pairs = zip(seconds["iceberg"], seconds["parquet"], strict=True)
    ratio = statistics.median(one / other for one, other in pairs)
    iceberg_s, parquet_s = (statistics.median(seconds[kind]) for kind in ("iceberg", "parquet"))
    against = f"Parquet: {parquet_s:.2f} s"
    save(
        "fleet_ingest",
        [
            Figure("Iceberg / Parquet", ratio, "x", "<= 1.15", ratio <= 1.15, against,
                   asked.rounds),
            Figure("Iceberg", iceberg_s, "s", "-", True, against, asked.rounds),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
