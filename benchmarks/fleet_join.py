"""Join points with the states they lie in: SedonaDB with ten million, geopandas with a sample.

    python -m benchmarks.fleet_join [--points 10000000] [--sample 1000000] [--rounds 3]

What is compared: the count of points by state, as in lab logistics-02, over the same made-up points
and the same mended borders. Both count a sample, in alternating rounds after one to warm up, and
must agree in every state; then SedonaDB counts all. Goal: ten million points in at most 6 s on two
cores, and no more seconds a point than geopandas.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report import Figure, save
from labdata.samples import datasets

JOIN = """SELECT name, count(*) AS rows FROM {view} JOIN states
    ON ST_Covers(geometry, ST_SetSRID(ST_Point(longitude, latitude), 4326)) GROUP BY name"""


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Measure, compare, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--sample", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    import geopandas
    import sedonadb

    dice = np.random.default_rng(7)
    longitude = dice.uniform(-104, -80, asked.points)
    latitude = dice.uniform(36, 49, asked.points)
    points = pd.DataFrame({"longitude": longitude, "latitude": latitude})
    borders = geopandas.read_file(datasets() / "fleet" / "states.geojson")
    borders["geometry"] = borders.geometry.make_valid()
    base = sedonadb.connect()
    base.create_data_frame(borders).to_view("states", overwrite=True)
    base.create_data_frame(points[: asked.sample]).to_view("few", overwrite=True)
    base.create_data_frame(points).to_view("lots", overwrite=True)

    def sedona(view: str) -> dict[str, int]:
        found = base.sql(JOIN.format(view=view)).to_pandas()
        return {
            str(name): int(rows) for name, rows in zip(found["name"], found["rows"], strict=True)
        }

    def pandas() -> dict[str, int]:
        few = points[: asked.sample]
        shapes = geopandas.points_from_xy(few["longitude"], few["latitude"])
        frame = geopandas.GeoDataFrame(geometry=shapes, crs=4326)
        joined = frame.sjoin(borders, predicate="covered_by")["name"].value_counts()
        return {str(name): int(rows) for name, rows in joined.items()}

    if sedona("few") != pandas():
        sys.exit("The two libraries do not count the same points: the figures would mean nothing.")
    ours, theirs = [], []
    for _ in range(asked.rounds):
        theirs.append(seconds(pandas))
        ours.append(seconds(lambda: sedona("few")))
    all_of_them = statistics.median(seconds(lambda: sedona("lots")) for _ in range(asked.rounds))
    ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
    against = f"56 states, {asked.sample:,} points agree"
    goal = 6.0 * asked.points / 10_000_000
    name = f"{asked.points:,} points, SedonaDB"
    peer = f"geopandas ÷ SedonaDB, {asked.sample:,} points"
    save(
        "fleet_join",
        [
            Figure(name, all_of_them, "s", f"<= {goal:g} s", all_of_them <= goal, against,
                   asked.rounds),
            Figure(peer, ratio, "x", ">= 1", ratio >= 1, against, asked.rounds),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
