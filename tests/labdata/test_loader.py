"""Files of every year are read into the same columns; what cannot be read is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from labdata import samples, stream
from labdata.errors import DataUnreadable
from labdata.taxi import COLUMNS, Order, loader, write_trips


def with_spark(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs Spark, which leaves sockets to the garbage collector."""
    quiet = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    marked: Callable[..., None] = pytest.mark.labs(quiet(test))
    return marked


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    (file,) = write_trips(tmp_path_factory.mktemp("made"), Order(400, seed=2))
    return pq.read_table(file).to_pandas()


@pytest.mark.fast
@pytest.mark.parametrize(
    ("found", "name", "old"),
    [
        (["vendor_id", " pickup_datetime", " dropoff_datetime"], "VendorID", "vendor_id"),
        (["vendor_name", "Trip_Pickup_DateTime"], "tpep_pickup_datetime", "Trip_Pickup_DateTime"),
        (["RateCodeID"], "RatecodeID", "RateCodeID"),
        ([" rate_code"], "RatecodeID", " rate_code"),
        (["Airport_fee"], "airport_fee", "Airport_fee"),
        (["Fare_Amt"], "fare_amount", "Fare_Amt"),
        (["surcharge"], "extra", "surcharge"),
    ],
)
def test_columns_of_other_years_are_known(found: list[str], name: str, old: str) -> None:
    rest = [column for column in COLUMNS if column != name]
    assert loader.match_columns("a file", [*found, *rest])[name] == old


@pytest.mark.fast
def test_column_that_is_missing_is_named() -> None:
    with pytest.raises(DataUnreadable, match=r"column trip_distance in march\.parquet, found none"):
        loader.match_columns("march.parquet", set(COLUMNS) - {"trip_distance"})
    older = [name for name in COLUMNS if "Location" not in name]
    with pytest.raises(DataUnreadable, match="coordinates instead of zones"):
        loader.match_columns("2010.csv", [*older, "pickup_longitude"])


@pytest.mark.fast
def test_folder_without_trips_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable, match=r"Expected files \*\.parquet or \*\.csv in .*; type"):
        loader.find_trips(tmp_path)
    assert loader.find_trips("") is None


@pytest.mark.fast
def test_deliveries_arrive_whole(tmp_path: Path, trips: pd.DataFrame) -> None:
    trips.to_parquet(tmp_path / "all.parquet")
    parcels = stream.deliveries(tmp_path / "all.parquet", tmp_path / "in", 3)
    assert list(parcels) == [134, 134, 132]
    names = sorted(file.name for file in (tmp_path / "in").iterdir())
    assert names == ["delivery-001.parquet", "delivery-002.parquet", "delivery-003.parquet"]


@pytest.mark.fast
def test_datasets_are_found() -> None:
    assert (
        samples.datasets() / "taxi" / "zones.csv"
    ).read_bytes() == loader.zones_file().read_bytes()


@with_spark
def test_trips_of_three_layouts_make_one_table(
    spark: SparkSession, tmp_path: Path, trips: pd.DataFrame
) -> None:
    trips.to_parquet(tmp_path / "2021.parquet")
    newer = trips.rename(columns={"airport_fee": "Airport_fee"}).assign(cbd_congestion_fee=0.75)
    newer["PULocationID"] = newer["PULocationID"].astype("int32")
    newer["passenger_count"] = newer["passenger_count"].astype("Int64")
    pq.write_table(pa.Table.from_pandas(newer), tmp_path / "2025.parquet")
    names = {"VendorID": "vendor_id", "RatecodeID": " rate_code", "extra": " surcharge"}
    older = trips.rename(columns=names).drop(columns=["airport_fee"])
    older.assign(payment_type="CSH", vendor_id="CMT").to_csv(tmp_path / "2014.csv", index=False)
    read = loader.read_trips(spark, tmp_path)
    assert tuple(read.columns) == COLUMNS
    assert dict(read.dtypes)["PULocationID"] == "bigint"
    assert dict(read.dtypes)["tpep_pickup_datetime"] == "timestamp"
    frame = read.toPandas()
    assert len(frame) == 1200
    assert frame["PULocationID"].sum() == 3 * trips["PULocationID"].sum()
    assert (frame["payment_type"] == 2).sum() == 400 + 2 * (trips["payment_type"] == 2).sum()
    assert frame["tpep_pickup_datetime"].min() == trips["tpep_pickup_datetime"].min()


@with_spark
def test_value_that_cannot_be_read_is_named(
    spark: SparkSession, tmp_path: Path, trips: pd.DataFrame
) -> None:
    wrong = trips.astype({"fare_amount": object})
    wrong.loc[5, "fare_amount"] = "ten"
    wrong.to_csv(tmp_path / "may.csv", index=False)
    with pytest.raises(
        DataUnreadable, match=r"fare_amount in column fare_amount of .*may\.csv, found 'ten'"
    ):
        loader.read_trips(spark, tmp_path)


@with_spark
def test_file_that_is_no_parquet_is_named(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "june.parquet").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataUnreadable, match=r"Expected trips in .*june\.parquet, found a file"):
        loader.read_trips(spark, tmp_path)
