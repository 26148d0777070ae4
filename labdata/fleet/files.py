"""The fleet as files: a Parquet file a day, the borders, and the truth that only checks read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labdata.errors import DataError, DataUnreadable
from labdata.fleet import borders
from labdata.fleet.failures import best_auc, failures_of
from labdata.fleet.rows import (
    COLUMNS,
    START,
    batch_of,
    device_name,
    is_nowhere,
    swapped_of,
    true_position,
)
from labdata.fleet.signals import plan_of
from labdata.samples import datasets

__all__ = ["DEVICES", "SEED", "find_fleet", "read_events", "read_truth", "states_of", "write_fleet"]

DEVICES, SEED = 40, 7
TRUTH = "truth.json"
SCHEMA = pa.schema([
    ("id", pa.int64()), ("device_id", pa.string()), ("manufacturer", pa.string()),
    ("event_type", pa.string()), ("event_ts", pa.timestamp("us", tz="UTC")),
    *((name, pa.float64()) for name in COLUMNS[5:]),
])  # fmt: skip


def write_fleet(
    folder: Path, devices: int = DEVICES, days: int = 1, seed: int = SEED
) -> list[Path]:
    """Write days of a fleet, the borders and the truth below `folder/fleet`; return the files.

    A day's file holds all its rows, those that came late at its end, and none twice: what a table
    holds once the batches of both days were taken in.
    """
    place = folder / "fleet"
    place.mkdir(parents=True, exist_ok=True)
    source = datasets() / "fleet" / borders.STATES
    if source.resolve() != (place / borders.STATES).resolve():
        shutil.copyfile(source, place / borders.STATES)
    files = [_write_day(place, devices, day, seed) for day in range(days)]
    truth = _truth(folder, devices, seed)
    (place / TRUTH).write_text(json.dumps(truth, indent=None) + "\n", "utf-8")
    return files


def find_fleet(own: str = "") -> Path:
    """Return the folder `fleet` to read: the committed sample's, or that of a folder of yours."""
    place = (Path(own).expanduser() if own else datasets()) / "fleet"
    if not any(place.glob("events-*.parquet")):
        raise DataUnreadable(
            f"Expected the events of a fleet in {place}, found none; "
            f"`labs data fleet --out {place.parent}` makes them."
        )
    return place


def read_events(place: Path, day: int = 0) -> pd.DataFrame:
    """Return a day's rows as they arrived, times in UTC without a zone."""
    files = sorted(place.glob("events-*.parquet"))
    if not 0 <= day < len(files):
        raise DataUnreadable(f"Expected a day from 0 to {len(files) - 1} of {place}, found {day}.")
    try:
        frame: pd.DataFrame = pq.read_table(files[day]).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataUnreadable(f"{files[day]}: expected a Parquet file, found: {error}") from error
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise DataUnreadable(
            f"{files[day]}: expected the columns {', '.join(COLUMNS)}; "
            f"found no {', '.join(missing)}."
        )
    return frame.assign(event_ts=frame["event_ts"].dt.tz_localize(None))


def read_truth(place: Path) -> dict[str, Any]:
    """Return what was planted on the first day: for checks, never for a lab's own cells."""
    return dict(json.loads((place / TRUTH).read_text("utf-8")))


def states_of(
    lon: NDArray[np.float64], lat: NDArray[np.float64], polygons: borders.Borders
) -> list[str]:
    """Return the state of each point, by casting a ray; "" for one in no state.

    No library of geometry is used, so that it can be the second opinion about one.
    """
    found = np.full(len(lon), "", dtype=object)
    for name, parts in polygons.items():
        for polygon in parts:
            outer = polygon[0]
            (west, south), (east, north) = outer.min(axis=0), outer.max(axis=0)
            near = np.flatnonzero((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north))
            if len(near):
                inside = np.zeros(len(near), dtype=bool)
                for ring in polygon:  # each crossing of any ring turns inside to outside
                    inside ^= _crossed(lon[near], lat[near], ring)
                found[near[inside]] = name
    return [str(one) for one in found]


def _crossed(
    lon: NDArray[np.float64], lat: NDArray[np.float64], ring: borders.Ring
) -> NDArray[np.bool_]:
    """Return whether a ray to the east crosses the ring an odd number of times."""
    odd = np.zeros(len(lon), dtype=bool)
    for (x1, y1), (x2, y2) in pairwise(ring):
        if y1 != y2:
            spans = (y1 > lat) != (y2 > lat)
            odd ^= spans & (lon < x1 + (lat - y1) * (x2 - x1) / (y2 - y1))
    return odd


def _write_day(place: Path, devices: int, day: int, seed: int) -> Path:
    if devices < 1:
        raise DataError(f"Expected at least one device, found {devices}.")
    both = pd.concat([batch_of(seed, range(devices), day), batch_of(seed, range(devices), day + 1)])
    begin = START + np.timedelta64(day, "D")
    mine = both[(both["event_ts"] >= begin) & (both["event_ts"] < begin + np.timedelta64(1, "D"))]
    rows = mine.drop_duplicates("id")
    path = place / f"events-{np.datetime_as_string(begin, 'D')}.parquet"
    table = pa.Table.from_pandas(
        rows.assign(event_ts=rows["event_ts"].dt.tz_localize("UTC")), SCHEMA, preserve_index=False
    )
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd")
    return path


def _truth(folder: Path, devices: int, seed: int) -> dict[str, Any]:
    polygons = borders.read(folder)
    failures = failures_of(seed, range(devices))
    return {
        "seed": seed,
        "devices": devices,
        "swapped": swapped_of(seed),
        "failure_rows": len(failures),
        "failure_auc": round(best_auc(failures), 6),
        "planted": {device_name(one): _planted(seed, one, polygons) for one in range(devices)},
    }


def _planted(seed: int, device: int, polygons: borders.Borders) -> dict[str, Any]:
    plan = plan_of(seed, device)
    states = states_of(*true_position(seed, device), polygons)
    found: dict[str, Any] = {
        "motif": list(plan.motif),
        "discord": plan.discord,
        "nowhere": np.flatnonzero(is_nowhere(seed, device)).tolist(),
        "states": _runs(states),
    }
    if plan.shared is not None and plan.partner is not None:
        found |= {"shared": plan.shared, "partner": device_name(plan.partner)}
    return found


def _runs(states: Sequence[str]) -> list[list[Any]]:
    """Return the states one after the other, with their minutes.

    >>> _runs(["Iowa", "Iowa", "Nebraska"])
    [['Iowa', 2], ['Nebraska', 1]]
    """
    return [[name, len(list(run))] for name, run in groupby(states)]
