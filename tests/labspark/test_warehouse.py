"""One snapshot of an Iceberg table without Spark: two engines, equal answers, all offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from labspark import warehouse
from labspark.errors import ExtensionUnusable, SnapshotGone

pytestmark = [
    pytest.mark.labs,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
NAME = "seen"
ENGINES = ["iceberg", "pyiceberg"] if warehouse.extensions() else ["pyiceberg"]


@pytest.fixture(scope="module")
def snapshots(spark: SparkSession) -> Iterator[list[int]]:
    """Make a table of two snapshots, and return their ids."""
    table = f"ice.warehouse.{NAME}"
    spark.sql("CREATE NAMESPACE IF NOT EXISTS ice.warehouse")
    spark.sql(f"DROP TABLE IF EXISTS {table} PURGE")
    spark.sql(f"CREATE TABLE {table} (id bigint, word string, share double) USING iceberg")
    spark.sql(f"INSERT INTO {table} VALUES (1, 'a', 0.5), (2, NULL, 1.5)")
    spark.sql(f"INSERT INTO {table} VALUES (3, 'c', NULL)")
    rows = spark.sql(f"SELECT snapshot_id FROM {table}.snapshots ORDER BY committed_at").collect()
    yield [int(row[0]) for row in rows]
    spark.sql(f"DROP TABLE {table} PURGE")


@pytest.fixture(autouse=True)
def repository(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look where the session of all these tests writes."""
    place = Path(str(spark.conf.get("spark.sql.catalog.ice.warehouse")))
    monkeypatch.setenv("PROJECT_REPO", str(place.parents[2]))
    monkeypatch.setenv("EZMERAL_USER", place.parent.name)


@pytest.mark.parametrize("engine", ENGINES)
def test_snapshot_is_read_with_its_own_rows(snapshots: list[int], engine: str) -> None:
    newest = warehouse.open_table("warehouse", NAME, engine=engine)
    assert newest.execute(f"SELECT count(*), sum(share) FROM {NAME}").fetchone() == (3, 2.0)
    first = warehouse.open_table("warehouse", NAME, snapshots[0], engine=engine)
    assert first.execute(f"SELECT * FROM {NAME} ORDER BY id").fetchall() == [
        (1, "a", 0.5),
        (2, None, 1.5),
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_snapshot_that_has_expired_is_named(
    spark: SparkSession, snapshots: list[int], engine: str
) -> None:
    spark.sql("CREATE TABLE ice.warehouse.short USING iceberg AS SELECT 1 AS id")
    try:
        spark.sql("INSERT INTO ice.warehouse.short VALUES (2)")
        name = "SELECT snapshot_id FROM ice.warehouse.short.snapshots ORDER BY committed_at"
        (old, _) = [int(row[0]) for row in spark.sql(name).collect()]
        kept = warehouse.open_table("warehouse", "short", old, engine=engine)
        assert kept.execute("SELECT id FROM short").fetchall() == [(1,)]
        spark.sql(
            "CALL ice.system.expire_snapshots(table => 'warehouse.short', "
            "older_than => TIMESTAMP '2999-01-01 00:00:00', retain_last => 1)"
        )
        with pytest.raises(SnapshotGone, match=rf"snapshot {old} of warehouse\.short, .* expired"):
            warehouse.open_table("warehouse", "short", old, engine=engine)
    finally:
        spark.sql("DROP TABLE ice.warehouse.short PURGE")


@pytest.mark.skipif(not warehouse.extensions(), reason="there is no wheel for this machine")
def test_extension_that_was_changed_is_not_loaded(
    snapshots: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "avro.duckdb_extension"
    changed.write_bytes(warehouse.extensions()["avro"].read_bytes() + b"!")
    found = dict(warehouse.extensions()) | {"avro": changed}
    monkeypatch.setattr(warehouse, "extensions", lambda: found)
    with pytest.raises(ExtensionUnusable, match=r"extension avro .* is not loaded"):
        warehouse.open_table("warehouse", NAME)


def test_machine_without_the_wheel_reads_with_pyiceberg(
    snapshots: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "extensions", dict)
    sql = warehouse.open_table("warehouse", NAME)
    assert sql.execute(f"SELECT count(*) FROM {NAME}").fetchone() == (3,)
    assert sql.execute("SELECT count(*) FROM duckdb_extensions() WHERE loaded AND "
                       "extension_name = 'iceberg'").fetchone() == (0,)  # fmt: skip


def test_nothing_is_installed_from_outside(snapshots: list[int]) -> None:
    sql = warehouse.open_table("warehouse", NAME)
    with pytest.raises(Exception, match="spatial"):
        sql.execute("SELECT ST_Point(1, 2)").fetchone()
