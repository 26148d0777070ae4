"""Write the trips of some months as files: in parts, in constant memory, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from labdata.errors import DataUnreadable
from labdata.taxi.city import Drift
from labdata.taxi.trips import BLOCK, SCHEMA, Month, make_block
from labdata.taxi.zones import ZONES_FILE

__all__ = ["Order", "write_trips"]

MANIFEST = "taxi.json"
GROUP = 4  # blocks in a row group: 262,144 rows
WORDS = ["store_and_fwd_flag"]
STAMPS = ["tpep_pickup_datetime", "tpep_dropoff_datetime"]


@dataclass(frozen=True)
class Order:
    """What to write: the same order gives the same rows, wherever and whenever."""

    rows: int
    months: int = 1
    seed: int = 0
    start: str = "2024-01"
    format: str = "parquet"
    part_rows: int = 1_048_576
    drift: Drift = field(default_factory=Drift)

    def __post_init__(self) -> None:
        """Refuse what cannot be made, in words."""
        year, _, month = self.start.partition("-")
        if not (year.isdigit() and month.isdigit() and 1 <= int(month) <= 12 <= int(year)):
            raise ValueError(f"Expected a first month like 2024-01, found {self.start!r}.")
        if self.format not in ("parquet", "csv"):
            raise ValueError(f"Expected the format parquet or csv, found {self.format!r}.")
        if not 1 <= self.months <= self.rows:
            raise ValueError(
                f"Expected at least one month and one row for each, "
                f"found {self.rows} rows and {self.months} months."
            )

    def split(self) -> list[Month]:
        """Share the rows out evenly among the months; the first one carries the strays."""
        year, month = map(int, self.start.split("-"))
        share = self.rows // self.months
        made = []
        for number in range(self.months):
            years, index = divmod(month - 1 + number, 12)
            rows = self.rows - share * (self.months - 1) if number == 0 else share
            strays = max(1, rows // 400) if number == 0 and rows > 100 else 0
            made.append(Month(year + years, index + 1, rows, self.seed, self.drift, strays))
        return made


def write_trips(
    folder: Path | str, order: Order, progress: Callable[[int], object] = lambda rows: None
) -> list[Path]:
    """Write the ordered trips into `folder/trips` and the zones beside it; return the files.

    `progress` is called with the number of rows that were added. A folder that already holds
    exactly this order is left as it is.
    """
    place = Path(folder)
    trips = place / "trips"
    wanted = asdict(order)
    there = _manifest(place)
    if there.get("order") == wanted and all((trips / name).is_file() for name in there["files"]):
        progress(order.rows)
        return [trips / name for name in there["files"]]
    trips.mkdir(parents=True, exist_ok=True)
    _clear(trips, there.get("files", []))
    (place / MANIFEST).unlink(missing_ok=True)
    files = [
        file for month in order.split() for file in _write_month(trips, month, order, progress)
    ]
    shutil.copyfile(ZONES_FILE, place / "zones.csv")
    names = [file.name for file in files]
    _replace(place / MANIFEST, json.dumps({"order": wanted, "files": names}, indent=1) + "\n")
    return files


def _write_month(
    trips: Path, month: Month, order: Order, progress: Callable[[int], object]
) -> Iterator[Path]:
    """Write one month, part after part."""
    per_part = max(1, order.part_rows // BLOCK)
    starts = range(0, month.blocks, per_part)
    for part, first in enumerate(starts):
        number = f"-{part:04}" if len(starts) > 1 else ""
        name = f"yellow_tripdata_{month.year}-{month.month:02}{number}.{order.format}"
        hidden = trips / f".{name}.{os.getpid()}"
        try:
            blocks = range(first, min(first + per_part, month.blocks))
            _write_part(hidden, month, blocks, order.format, progress)
            hidden.replace(trips / name)
        finally:
            hidden.unlink(missing_ok=True)
        yield trips / name


def _write_part(
    file: Path, month: Month, blocks: range, format: str, progress: Callable[[int], object]
) -> None:
    if format == "csv":
        stamps = pa.timestamp("s")
        schema = pa.schema([(f.name, stamps if f.name in STAMPS else f.type) for f in SCHEMA])
        with pyarrow.csv.CSVWriter(file, schema) as writer:
            for number in blocks:
                batch = make_block(month, number)
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
                progress(batch.num_rows)
        return
    repeating = [name for name in SCHEMA.names if name not in STAMPS]
    with pyarrow.parquet.ParquetWriter(
        file,
        SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=repeating,
        store_schema=False,
    ) as writer:
        for first in range(blocks.start, blocks.stop, GROUP):
            group = range(first, min(first + GROUP, blocks.stop))
            batches = [make_block(month, number) for number in group]
            rows = sum(batch.num_rows for batch in batches)
            writer.write_table(pa.Table.from_batches(batches), row_group_size=rows)
            progress(rows)


def _manifest(place: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        kept = json.loads((place / MANIFEST).read_text("utf-8"))
        if isinstance(kept, dict):
            return kept
    return {}


def _clear(trips: Path, ours: list[str]) -> None:
    """Remove what an earlier order wrote; refuse to mix with files of somebody else."""
    for name in ours:
        (trips / name).unlink(missing_ok=True)
    others = sorted(file.name for file in trips.iterdir() if not file.name.startswith("."))
    if others:
        raise DataUnreadable(
            f"Expected an empty folder {trips}, found {others[0]}; "
            "name another folder, or remove what is in it."
        )


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text, "utf-8")
    fresh.replace(file)
