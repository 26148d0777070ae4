"""The trips look like trips, are dirty like trips, and are the same for the same seed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from labdata.errors import DataUnreadable
from labdata.taxi import COLUMNS, SCHEMA, Drift, Order, write_trips, zones
from labdata.taxi.city import Drift as CityDrift
from labdata.taxi.trips import BLOCK, Month, make_block

# The regressor at the end takes seconds; the others belong to the fast set.
fast = pytest.mark.fast

SAMPLE = Path(__file__).parents[2] / "datasets"


@pytest.fixture(scope="module")
def month() -> pd.DataFrame:
    blocks = [make_block(Month(2024, 1, 2 * BLOCK, 3, strays=300), number) for number in (0, 1)]
    frame = pd.concat([block.to_pandas() for block in blocks], ignore_index=True)
    gap = frame["tpep_dropoff_datetime"] - frame["tpep_pickup_datetime"]
    return frame.assign(seconds=gap.dt.total_seconds(), at=frame["tpep_pickup_datetime"].dt)


@pytest.fixture(scope="module")
def clean(month: pd.DataFrame) -> pd.DataFrame:
    rules = "20 < seconds < 10800 and trip_distance > 0 and fare_amount > 0"
    return month.query(f"{rules} and PULocationID < 264 and DOLocationID < 264")


@fast
def test_columns_are_those_of_tlc(month: pd.DataFrame) -> None:
    assert tuple(month.columns[:19]) == COLUMNS
    assert str(SCHEMA.field("tpep_pickup_datetime").type) == "timestamp[us]"
    assert str(SCHEMA.field("PULocationID").type) == "int64"


@fast
def test_zones_are_263_and_named() -> None:
    assert [zone.number for zone in zones.read()] == list(range(1, 264))
    assert {zone.borough for zone in zones.read()} == {
        "Manhattan",
        "Brooklyn",
        "Queens",
        "Bronx",
        "Staten Island",
        "EWR",
    }
    assert all(40.4 < z.latitude < 41 and -74.4 < z.longitude < -73.6 for z in zones.read())


@pytest.mark.parametrize(
    ("rule", "low", "high"),
    [
        ("seconds < 0", 0.0003, 0.0008),
        ("seconds == 0", 0.0006, 0.0015),
        ("80000 < seconds < 86400", 0.0012, 0.003),
        ("trip_distance == 0", 0.005, 0.01),
        ("passenger_count.isna()", 0.03, 0.04),
        ("PULocationID > 263 or DOLocationID > 263", 0.008, 0.014),
        ("fare_amount < 0 and total_amount < 0 and payment_type > 2", 0.004, 0.006),
    ],
)
@fast
def test_dirt_is_there(month: pd.DataFrame, rule: str, low: float, high: float) -> None:
    assert low < month.eval(rule).mean() < high


@fast
def test_dirt_repeats_one_batch(month: pd.DataFrame) -> None:
    repeated = int(month[list(COLUMNS)].duplicated().sum())
    assert repeated == 2 * BLOCK // 500


@fast
def test_dirt_holds_a_month_of_another_year(month: pd.DataFrame) -> None:
    years = month["tpep_pickup_datetime"].dt.year.value_counts()
    assert years.to_dict() == {2024: 2 * BLOCK - 300, 2022: 300}


@fast
def test_demand_has_nights_and_peaks(clean: pd.DataFrame) -> None:
    workdays = clean[clean["tpep_pickup_datetime"].dt.weekday < 5]
    by_hour = workdays["tpep_pickup_datetime"].dt.hour.value_counts()
    assert by_hour.idxmax() in (17, 18, 19)
    assert by_hour[4] < by_hour[18] / 5


@fast
def test_speed_is_lower_at_noon_than_at_night(clean: pd.DataFrame) -> None:
    speed = clean["trip_distance"] / clean["seconds"] * 3600
    by_hour = speed.groupby(clean["tpep_pickup_datetime"].dt.hour).median()
    assert 6 < by_hour[14] < 11 < by_hour[4] < 22


@fast
def test_fares_follow_the_meter(clean: pd.DataFrame) -> None:
    metered = clean[clean["RatecodeID"] == 1]
    least = 3 + 0.7 * np.floor(metered["trip_distance"] * 5)
    assert (metered["fare_amount"] >= least - 0.71).all()
    flat = clean[clean["RatecodeID"] == 2]["fare_amount"]
    assert set(flat) == {70.0}


@fast
def test_tips_are_on_the_meter_with_cards_only(clean: pd.DataFrame) -> None:
    assert (clean.query("payment_type == 2")["tip_amount"] == 0).all()
    assert clean.query("payment_type == 1")["tip_amount"].mean() > 2


@fast
def test_total_is_the_sum(clean: pd.DataFrame) -> None:
    known = clean.dropna()
    parts = known[[*COLUMNS[10:16], *COLUMNS[17:19]]].sum(axis=1)
    assert np.allclose(parts, known["total_amount"], atol=0.001)


@pytest.mark.labs
def test_regressor_beats_the_best_constant_and_is_not_perfect(clean: pd.DataFrame) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    frame = clean.sample(30_000, random_state=0)
    place = np.array([(zone.latitude, zone.longitude) for zone in zones.read()])
    features = np.column_stack(
        [
            frame["trip_distance"],
            frame["tpep_pickup_datetime"].dt.hour,
            frame["tpep_pickup_datetime"].dt.weekday,
            place[frame["PULocationID"] - 1],
            place[frame["DOLocationID"] - 1],
        ]
    )
    seconds = frame["seconds"].to_numpy()
    train, test = slice(0, 24_000), slice(24_000, None)
    model = HistGradientBoostingRegressor(max_iter=60, random_state=0)
    model.fit(features[train], seconds[train])
    error = np.abs(model.predict(features[test]) - seconds[test]).mean()
    constant = np.abs(np.median(seconds[train]) - seconds[test]).mean()
    assert 0.2 * constant < error < 0.6 * constant
    assert 60 < error < 400


@fast
def test_drift_slows_midtown_and_raises_fares() -> None:
    usual = make_block(Month(2024, 3, BLOCK, 5), 0).to_pandas()
    later = make_block(Month(2024, 3, BLOCK, 5, CityDrift(0.7, 1.2)), 0).to_pandas()
    assert later["fare_amount"].median() > 1.15 * usual["fare_amount"].median()
    length = [
        (frame["tpep_dropoff_datetime"] - frame["tpep_pickup_datetime"]).median()
        for frame in (usual, later)
    ]
    assert length[1] > 1.1 * length[0]


@fast
def test_files_are_the_same_for_the_same_order(tmp_path: Path) -> None:
    order = Order(150_000, months=2, seed=11, part_rows=BLOCK)
    first = write_trips(tmp_path / "a", order)
    again = write_trips(tmp_path / "b", order)
    assert [file.name for file in first] == [file.name for file in again]
    assert len(first) == 4
    assert all(pq.read_table(x).equals(pq.read_table(y)) for x, y in zip(first, again, strict=True))
    assert sum(pq.read_metadata(file).num_rows for file in first) == 150_000


@fast
def test_files_change_with_the_seed(tmp_path: Path) -> None:
    (one,) = write_trips(tmp_path / "a", Order(1000, seed=1))
    (two,) = write_trips(tmp_path / "b", Order(1000, seed=2))
    assert not pq.read_table(one).equals(pq.read_table(two))


@fast
def test_csv_holds_the_same_trips(tmp_path: Path) -> None:
    (csv,) = write_trips(tmp_path / "c", Order(500, seed=1, format="csv"))
    (parquet,) = write_trips(tmp_path / "p", Order(500, seed=1))
    table = pyarrow.csv.read_csv(csv)
    assert table.column_names == list(COLUMNS)
    assert table["total_amount"].to_pylist() == pq.read_table(parquet)["total_amount"].to_pylist()


@fast
def test_second_call_leaves_the_files_alone(tmp_path: Path) -> None:
    (file,) = write_trips(tmp_path, Order(1000))
    written = file.stat().st_mtime_ns
    write_trips(tmp_path, Order(1000))
    assert file.stat().st_mtime_ns == written


@fast
def test_new_order_removes_only_its_own_files(tmp_path: Path) -> None:
    write_trips(tmp_path, Order(1000, months=2))
    (file,) = write_trips(tmp_path, Order(1000))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    (file.parent / "mine.parquet").write_bytes(b"")
    with pytest.raises(DataUnreadable, match=r"found mine\.parquet; name another folder"):
        write_trips(tmp_path, Order(2000))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rows": 0}, "at least one month"),
        ({"rows": 5, "start": "January"}, "first month like 2024-01"),
        ({"rows": 5, "start": "2024-13"}, "first month like 2024-01"),
        ({"rows": 5, "format": "xlsx"}, "parquet or csv"),
    ],
)
@fast
def test_order_that_cannot_be_made_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Order(**wrong)  # type: ignore[arg-type]


@fast
def test_no_drift_is_the_default() -> None:
    assert Order(1).drift == Drift(1.0, 1.0, 1.0)


@fast
def test_sample_is_small_and_as_described() -> None:
    said = dict(
        re.findall(
            r"\| (\S+) \| [\d,]+ \| [\d,]+ \| `(\w{64})` \|\n",
            (SAMPLE / "README.md").read_text(),
        )
    )
    files = {
        str(file.relative_to(SAMPLE / "taxi")): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (SAMPLE / "taxi").rglob("*")
        if file.suffix in (".parquet", ".csv")
    }
    assert {name: digest for name, digest in said.items() if name in files} == files
    assert all(file.stat().st_size < 5_000_000 for file in SAMPLE.rglob("*") if file.is_file())


@fast
def test_sample_is_what_the_command_gives(tmp_path: Path) -> None:
    made = write_trips(tmp_path, Order(120_000, months=2, seed=7))
    kept = sorted((SAMPLE / "taxi" / "trips").glob("*.parquet"))
    assert [file.name for file in made] == [file.name for file in kept]
    assert all(pq.read_table(x).equals(pq.read_table(y)) for x, y in zip(made, kept, strict=True))
