"""Get trips: make them, find the committed sample, read them whatever year they are from.

The city has renamed and retyped its columns every few years. `read_trips` gives one table from
all of them, and says which file and which column it could not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from labdata.errors import DataUnreadable
from labdata.taxi import SCHEMA, ZONES_FILE, Drift, Order, write_trips

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

__all__ = [
    "find_trips",
    "make_trips",
    "match_columns",
    "read_trips",
    "zones_file",
]

# TLC's names through the years, in lower case and without separators -> today's name.
OLD_NAMES = {
    "vendorname": "VendorID",
    "trippickupdatetime": "tpep_pickup_datetime",
    "tripdropoffdatetime": "tpep_dropoff_datetime",
    "pickupdatetime": "tpep_pickup_datetime",
    "dropoffdatetime": "tpep_dropoff_datetime",
    "lpeppickupdatetime": "tpep_pickup_datetime",
    "lpepdropoffdatetime": "tpep_dropoff_datetime",
    "ratecode": "RatecodeID",
    "storeandforward": "store_and_fwd_flag",
    "fareamt": "fare_amount",
    "surcharge": "extra",
    "tipamt": "tip_amount",
    "tollsamt": "tolls_amount",
    "totalamt": "total_amount",
    "congestionsurcharge": "congestion_surcharge",
}
TODAY = {name.lower().replace("_", ""): name for name in SCHEMA.names}
NEEDED = (
    "tpep_pickup_datetime",
    "tpep_dropoff_datetime",
    "trip_distance",
    "PULocationID",
    "DOLocationID",
)
# What older files spell out in words.
WORDS = {
    "VendorID": {"cmt": 1, "vts": 2, "dds": 3},
    "payment_type": {"crd": 1, "credit": 1, "csh": 2, "cas": 2, "cash": 2, "noc": 3, "no charge": 3,
                     "dis": 4, "dispute": 4, "unk": 5},
}  # fmt: skip


def make_trips(
    folder: Path | str,
    rows: int,
    months: int = 2,
    seed: int = 7,
    start: str = "2024-01",
    drift: Drift | None = None,
    part_rows: int = 1_048_576,
) -> Path:
    """Write made-up trips below a folder, with a lookup of zones; return the trips' folder."""
    order = Order(rows, months, seed, start, "parquet", part_rows, drift or Drift())
    return write_trips(folder, order)[0].parent


def find_trips(folder: Path | str) -> Path | None:
    """Return the folder with trips of one's own, if one is named and has some."""
    if not str(folder):
        return None
    return _files(Path(folder).expanduser())[0].parent


def zones_file() -> Path:
    """Return the lookup of the 263 taxi zones: LocationID, Borough, Zone, latitude, longitude."""
    return ZONES_FILE


def match_columns(file: str, found: Iterable[str]) -> dict[str, str]:
    """Map today's column names to those in a file; name what is missing."""
    matched: dict[str, str] = {}
    for name in found:
        key = name.strip().lower().replace("_", "").replace(" ", "")
        today = TODAY.get(key) or OLD_NAMES.get(key) or TODAY.get(key + "id")
        if today is None and key == "vendor":
            today = "VendorID"
        if today is not None:
            matched.setdefault(today, name)
    missing = [name for name in NEEDED if name not in matched]
    if missing:
        older = any("longitude" in name.lower() or "_lon" in name.lower() for name in found)
        cure = (
            "This month has coordinates instead of zones: take one from 2011 or later "
            "as the city publishes it now."
            if older
            else "Take a yellow-cab month as the city publishes it."
        )
        raise DataUnreadable(f"Expected a column {missing[0]} in {file}, found none. {cure}")
    return matched


def read_trips(spark: SparkSession, folder: Path | str) -> DataFrame:
    """Read a file or a folder of trips, Parquet or CSV, into today's columns and types."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for file in _files(Path(folder)):
        groups.setdefault(_columns(file), []).append(str(file))
    frames = [_read_alike(spark, dict(columns), files) for columns, files in groups.items()]
    return reduce(lambda left, right: left.unionByName(right), frames)


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    found = [*folder.glob("*.parquet"), *folder.glob("*.csv")] if folder.is_dir() else []
    files = sorted(file for file in found if not file.name.startswith((".", "_")))
    if not files:
        raise DataUnreadable(
            f"Expected files *.parquet or *.csv in {folder}, found none; "
            f"type `labs data taxi --out {folder.parent}` to make some."
        )
    return files


def _columns(file: Path) -> tuple[tuple[str, str], ...]:
    """Return the names and types of a file's columns, which is all that is read of it here."""
    try:
        if file.suffix == ".csv":
            with pyarrow.csv.open_csv(file) as reader:
                return tuple((name, "string") for name in reader.schema.names)
        schema = pyarrow.parquet.read_schema(file)
        return tuple((field.name, str(field.type)) for field in schema)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataUnreadable(
            f"Expected trips in {file}, found a file that cannot be read ({error}); "
            "fetch it again, or move it out of the folder."
        ) from error


def _read_alike(spark: SparkSession, types: Mapping[str, str], files: list[str]) -> DataFrame:
    """Read files that have the same columns."""
    matched = match_columns(files[0], types)
    if files[0].endswith(".csv"):
        schema = ", ".join(f"`{name}` STRING" for name in types)
        raw = spark.read.csv(files, header=True, schema=schema, ignoreLeadingWhiteSpace=True)
    else:
        raw = spark.read.parquet(*files)
    wanted = {
        field.name: _cast(matched.get(field.name), field.name, _spark_type(field.type))
        for field in SCHEMA
    }
    told = {
        name: (old, wanted[name])
        for name, old in matched.items()
        if "string" in types[old] and not pa.types.is_string(SCHEMA.field(name).type)
    }
    if told:
        _refuse_unreadable(raw, told)
    return raw.select(*wanted.values())


def _cast(old: str | None, name: str, kind: str) -> Column:
    from pyspark.sql import functions as F

    if old is None:
        return F.lit(None).cast(kind).alias(name)
    column = F.col(f"`{old}`")
    coded = WORDS.get(name)
    if coded:
        word = F.lower(F.trim(column.cast("string")))
        pairs = [F.lit(part) for pair in coded.items() for part in pair]
        column = F.coalesce(F.create_map(*pairs)[word].cast("string"), column.cast("string"))
    return column.try_cast(kind).alias(name)


def _refuse_unreadable(raw: DataFrame, columns: Mapping[str, tuple[str, Column]]) -> None:
    """Find a value that is there and cannot be read; say in which file and which column."""
    from pyspark.sql import functions as F

    texts = {name: F.trim(F.col(f"`{old}`")) for name, (old, _) in columns.items()}
    bad = {name: (texts[name] != "") & cast.isNull() for name, (_, cast) in columns.items()}
    found = [F.when(bad[name], texts[name]).alias(name) for name in columns]
    row = raw.where(reduce(or_, bad.values())).select(F.input_file_name(), *found).first()
    if row is None:
        return
    file, name = row[0], next(name for name in columns if row[name] is not None)
    raise DataUnreadable(
        f"Expected {name} in column {columns[name][0]} of {file}, found {row[name]!r}; "
        "correct or remove that line, or move the file out of the folder."
    )


def _spark_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return {"int64": "bigint", "double": "double", "string": "string"}[str(kind)]
