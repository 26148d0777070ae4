"""Lab core-04's checkpoint on its features: which recipes and files it finds wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from labdata.taxi.loader import make_trips, read_trips, zones_file
from labhelpers.checkpoint import CheckFailed, begin
from tests.labs.cells import code_of
from tests.labs.checkpoints import Checkpoint, checkpoints, foundations
from tests.repo.tree import ROOT

pytestmark = [
    pytest.mark.labs,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

FOLDER = ROOT / "notebooks" / "_src" / "core"
SOURCE = (FOLDER / "04_train.py").read_text("utf-8")
CLEANING = (FOLDER / "03_lakehouse.py").read_text("utf-8")
NAME = "Features are numbers, without gaps, and hold nothing from after the ride"


@pytest.fixture(scope="module")
def trips(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return 2,000 trips, cleaned as lab core-03 cleans them, and the zones as a view."""
    made = make_trips(tmp_path_factory.mktemp("leaks"), 2_000, months=1, start="2024-08")
    rides = read_trips(spark, made)
    rides.selectExpr("*", "'2024-08' AS month").createOrReplaceTempView("rides")
    zones = spark.read.csv(str(zones_file()), header=True, inferSchema=True)
    zones.createOrReplaceTempView("zones")
    rules = CLEANING.split('rules = """')[1].split('"""')[0]
    found = spark.sql(rules).where("duration BETWEEN 21 AND 10799").cache()
    found.createOrReplaceTempView("trips")
    yield found
    for view in ("rides", "zones", "trips"):
        spark.catalog.dropTempView(view)


@pytest.fixture
def lab(
    spark: SparkSession, trips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Return the names a learner has before the checkpoint, the lab's own recipe among them."""
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    begin("core/04")
    names = foundations(
        SOURCE
    )  # the lab's functions read these names: they are added to, not copied
    names.update(spark=spark, trips=trips, code=tmp_path)
    names["feature_file"] = tmp_path / "features.parquet"
    for start in ("names = [", "known = ["):
        exec(code_of(SOURCE, start), names)
    return names


def judge(lab: dict[str, Any], **put: str) -> None:
    """Write the features of a recipe that was added to, and ask the checkpoint."""
    for name, expression in put.items():
        lab["recipe"] = lab["recipe"].replace("SELECT ", f"SELECT {expression} AS {name}, ", 1)
    lab["spark"].sql(lab["recipe"]).toPandas().to_parquet(lab["feature_file"])
    (found,) = (one for one in checkpoints("core/04", SOURCE) if one.name == NAME)
    Checkpoint.run(found, lab)


def test_recipe_of_the_lab_is_free_of_leaks_in_every_month(lab: dict[str, Any]) -> None:
    judge(lab)
    assert lab["spark"].sql(lab["recipe"]).toPandas()["month_8"].eq(1.0).all()


@pytest.mark.parametrize(
    "leak",
    [
        {"trip_distance": "double(trip_distance)"},
        {"miles": "round(trip_distance, 1)"},
        {"is_long": "double(coalesce(trip_distance, 0) > 5)"},
        {"pace": "duration / 2"},
    ],
    ids=["as it is", "renamed", "hidden by coalesce", "of the target"],
)
def test_feature_from_after_the_ride_fails(lab: dict[str, Any], leak: dict[str, str]) -> None:
    with pytest.raises(CheckFailed, match=f"after the ride: {next(iter(leak))}"):
        judge(lab, **leak)


def test_column_added_to_the_file_alone_fails(lab: dict[str, Any]) -> None:
    judge(lab)
    frame = lab["spark"].sql(lab["recipe"]).toPandas()
    frame.assign(trip_distance=1.0).to_parquet(lab["feature_file"])
    (found,) = (one for one in checkpoints("core/04", SOURCE) if one.name == NAME)
    with pytest.raises(CheckFailed):
        found.run(lab)
