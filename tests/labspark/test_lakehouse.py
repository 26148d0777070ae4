"""What Delta and Iceberg must be able to do here: the environment is pinned to what passes this.

The checks marked `labs` are what the labs teach and run on every push; the others run at night.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from delta import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from labhelpers.spark import refusal

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
labs, nightly = pytest.mark.labs, pytest.mark.nightly

Read = Callable[..., DataFrame]


@pytest.fixture
def read(spark: SparkSession, place: str) -> Read:
    def read(**options: object) -> DataFrame:
        return spark.read.load(place, "delta", **options)  # type: ignore[arg-type]

    return read


@pytest.fixture
def table(spark: SparkSession, place: str) -> DeltaTable:
    """Return a table of 100 rows, id and v = 2 id, in two versions."""
    for low, high in ((0, 60), (60, 100)):
        frame = spark.range(low, high).withColumn("v", F.col("id") * 2)
        frame.write.save(place, "delta", "append")
    return DeltaTable.forPath(spark, place)


def total(frame: DataFrame, column: str = "v") -> int:
    row = frame.agg(F.sum(column)).first()
    assert row is not None
    return int(row[0])


@labs
def test_delta_appends_make_versions(table: DeltaTable, read: Read) -> None:
    assert read().count() == 100
    assert read(versionAsOf=0).count() == 60


@labs
def test_delta_log_is_json_a_person_can_read(table: DeltaTable, place: str) -> None:
    lines = (Path(place) / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    kinds = {next(iter(json.loads(line))) for line in lines}
    assert {"commitInfo", "metaData", "protocol", "add"} <= kinds


@labs
def test_delta_merges(spark: SparkSession, table: DeltaTable, read: Read) -> None:
    news = spark.range(90, 110).withColumn("v", F.lit(-1).cast("long"))
    news.createOrReplaceTempView("news")
    place = read().inputFiles()[0].rsplit("/", 1)[0]
    spark.sql(
        f"MERGE INTO delta.`{place}` t USING news s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT * "
        "WHEN NOT MATCHED BY SOURCE AND t.id < 10 THEN DELETE"
    )
    assert read().count() == 100
    assert read().where("v = -1").count() == 20


@labs
def test_delta_updates_and_deletes(table: DeltaTable, read: Read) -> None:
    table.update("id < 5", {"v": F.lit(7).cast("long")})
    table.delete("id >= 50")
    assert (read().count(), read().where("v = 7").count()) == (50, 5)


@labs
def test_delta_travels_by_version_and_time(
    spark: SparkSession, table: DeltaTable, place: str
) -> None:
    history = table.history().orderBy("version").selectExpr("string(timestamp) AS at")
    first = history.first()
    assert first is not None
    for clause in ("VERSION AS OF 0", f"TIMESTAMP AS OF '{first['at']}'"):
        assert spark.sql(f"SELECT * FROM delta.`{place}` {clause}").count() == 60


@labs
def test_delta_restores(table: DeltaTable, read: Read) -> None:
    table.delete()
    table.restoreToVersion(1)
    assert read().count() == 100


@labs
def test_delta_refuses_another_type_and_tells_so(
    spark: SparkSession, place: str, table: DeltaTable
) -> None:
    bad = spark.range(1).withColumn("v", F.lit("text"))
    said = refusal("a text", lambda: bad.write.save(place, "delta", "append"))
    assert "DELTA_FAILED_TO_MERGE_FIELDS" in said


@labs
def test_delta_takes_a_new_column_when_asked(
    spark: SparkSession, place: str, table: DeltaTable, read: Read
) -> None:
    more = spark.range(1).withColumn("v", F.col("id")).withColumn("extra", F.lit("x"))
    more.write.save(place, "delta", "append", mergeSchema=True)
    assert read().columns == ["id", "v", "extra"]


@labs
def test_delta_keeps_a_check_constraint(spark: SparkSession, place: str, table: DeltaTable) -> None:
    spark.sql(f"ALTER TABLE delta.`{place}` ADD CONSTRAINT low CHECK (v < 1000)")
    bad = spark.range(1).withColumn("v", F.lit(5000).cast("long"))
    said = refusal("a large v", lambda: bad.write.save(place, "delta", "append"))
    assert "DELTA_VIOLATE_CONSTRAINT" in said


@labs
def test_delta_feeds_changes(spark: SparkSession, place: str) -> None:
    spark.sql(
        f"CREATE TABLE fed USING delta LOCATION '{place}' "
        "TBLPROPERTIES (delta.enableChangeDataFeed = true) AS SELECT id, 0 AS v FROM range(3)"
    )
    spark.sql("UPDATE fed SET v = 1 WHERE id = 1")
    spark.sql("DELETE FROM fed WHERE id = 2")
    rows = spark.sql("SELECT _change_type AS kind FROM table_changes('fed', 1)").collect()
    spark.sql("DROP TABLE fed")
    assert sorted(row["kind"] for row in rows) == ["delete", "update_postimage", "update_preimage"]


@labs
def test_delta_streams_exactly_once_over_a_restart(
    spark: SparkSession, table: DeltaTable, place: str
) -> None:
    def follow() -> int:
        source = spark.readStream.load(place, "delta")
        sink = source.writeStream.option("checkpointLocation", f"{place}-notes")
        sink.trigger(availableNow=True).start(f"{place}-copy", "delta").awaitTermination(60)
        return spark.read.load(f"{place}-copy", "delta").count()

    seen = [follow(), follow()]
    spark.range(50).withColumn("v", F.col("id")).write.save(place, "delta", "append")
    assert [*seen, follow()] == [100, 100, 150]


@labs
def test_delta_lets_one_of_two_writers_win(
    spark: SparkSession, place: str, table: DeltaTable
) -> None:
    import delta.exceptions.captured  # noqa: F401  (patches pyspark so that these are raised)
    from delta.exceptions import ConcurrentAppendException

    lost: list[str] = []

    def add_one() -> None:
        while True:
            try:
                spark.sql(f"UPDATE delta.`{place}` SET v = v + 1")
                return
            except ConcurrentAppendException as error:
                lost.append(type(error).__name__)

    before = total(table.toDF())
    writers = [threading.Thread(target=add_one) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert lost
    assert total(table.toDF()) == before + 300


@labs
def test_delta_converts_parquet_in_place(spark: SparkSession, place: str) -> None:
    spark.range(50).write.parquet(place)
    before = sorted(Path(place).glob("*.parquet"))
    spark.sql(f"CONVERT TO DELTA parquet.`{place}`")
    assert spark.read.load(place, "delta").count() == 50
    assert sorted(Path(place).glob("*.parquet")) == before


@labs
def test_delta_compacts_orders_and_vacuums(
    spark: SparkSession, table: DeltaTable, place: str
) -> None:
    table.optimize().executeCompaction()
    table.optimize().executeZOrderBy("id")
    detail = table.detail().select("numFiles").first()
    assert detail is not None
    assert detail["numFiles"] == 1
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    table.vacuum(0)
    spark.conf.unset("spark.databricks.delta.retentionDurationCheck.enabled")
    assert len(list(Path(place).glob("*.parquet"))) == 1


@labs
def test_iceberg_reads_what_it_wrote_and_travels(spark: SparkSession) -> None:
    spark.sql("CREATE OR REPLACE TABLE ice.db.a (id BIGINT, v STRING) USING iceberg")
    spark.sql("INSERT INTO ice.db.a VALUES (1, 'a')")
    spark.sql("INSERT INTO ice.db.a VALUES (2, 'b')")
    row = spark.sql("SELECT snapshot_id AS s FROM ice.db.a.snapshots ORDER BY committed_at").first()
    assert row is not None
    assert spark.table("ice.db.a").count() == 2
    assert spark.sql(f"SELECT * FROM ice.db.a VERSION AS OF {row['s']}").count() == 1
    assert spark.read.format("iceberg").load("ice.db.a").count() == 2


DELTA_SQL = {
    "deletion vectors": (
        "CREATE TABLE x (id BIGINT) USING delta "
        "TBLPROPERTIES ('delta.enableDeletionVectors' = true)",
        "INSERT INTO x SELECT id FROM range(1000)",
        "DELETE FROM x WHERE id % 10 = 3",
        "REORG TABLE x APPLY (PURGE)",
        "SELECT 900 = count(*) FROM x",
    ),
    "liquid clustering": (
        "CREATE TABLE x (id BIGINT, v INT) USING delta CLUSTER BY (id)",
        "INSERT INTO x SELECT id, 1 FROM range(100)",
        "OPTIMIZE x",
        "SELECT 100 = count(*) FROM x",
    ),
    "column mapping": (
        "CREATE TABLE x (a INT, b INT) USING delta "
        "TBLPROPERTIES ('delta.columnMapping.mode' = 'name')",
        "INSERT INTO x VALUES (1, 2)",
        "ALTER TABLE x RENAME COLUMN b TO c",
        "ALTER TABLE x DROP COLUMN a",
        "SELECT 2 = max(c) FROM x",
    ),
    "type widening": (
        "CREATE TABLE x (id INT) USING delta TBLPROPERTIES ('delta.enableTypeWidening' = true)",
        "ALTER TABLE x ALTER COLUMN id TYPE BIGINT",
        "INSERT INTO x VALUES (5000000000)",
        "SELECT 5000000000 = max(id) FROM x",
    ),
    "column defaults": (
        "CREATE TABLE x (id INT, v STRING DEFAULT 'q') USING delta "
        "TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')",
        "INSERT INTO x (id) VALUES (1)",
        "SELECT 'q' = max(v) FROM x",
    ),
    "variant": (
        "CREATE TABLE x (v VARIANT) USING delta",
        "INSERT INTO x SELECT parse_json('{\"a\": 1}')",
        "SELECT 1 = max(variant_get(v, '$.a', 'int')) FROM x",
    ),
    "shallow clone": (
        "CREATE TABLE x USING delta AS SELECT id FROM range(9)",
        "CREATE TABLE y SHALLOW CLONE x",
        "SELECT 9 = count(*) FROM y",
    ),
    "restore in SQL": (
        "CREATE TABLE x USING delta AS SELECT id FROM range(9)",
        "DELETE FROM x",
        "RESTORE TABLE x TO VERSION AS OF 0",
        "SELECT 9 = count(*) FROM x",
    ),
}
ICEBERG_SQL = {
    "merge": (
        "MERGE INTO x USING (SELECT 1L AS id, 'z' AS v UNION ALL SELECT 9L, 'n') s ON x.id = s.id "
        "WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT *",
        "SELECT count(*) = 4 AND count_if(v = 'z') = 1 FROM x",
    ),
    "delete on read": (
        "ALTER TABLE x SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')",
        "DELETE FROM x WHERE id = 2",
        "SELECT 2 = count(*) FROM x",
    ),
    "branch": (
        "ALTER TABLE x CREATE BRANCH audit",
        "INSERT INTO ice.db.x.branch_audit VALUES (50, 'b')",
        "SELECT 3 = count(*) FROM x",
        "CALL ice.system.fast_forward('db.x', 'main', 'audit')",
        "SELECT 4 = count(*) FROM x",
    ),
    "schema and partition evolution": (
        "ALTER TABLE x ADD COLUMN z INT",
        "ALTER TABLE x RENAME COLUMN v TO w",
        "ALTER TABLE x ADD PARTITION FIELD bucket(4, id)",
        "INSERT INTO x VALUES (60, 'p', 1)",
        "SELECT 1 = sum(z) FROM x",
    ),
    "maintenance": (
        "CALL ice.system.rewrite_data_files("
        "table => 'db.x', options => map('min-input-files', '1'))",
        "CALL ice.system.expire_snapshots('db.x', timestamp '2000-01-01 00:00:00')",
        "CALL ice.system.rewrite_manifests('db.x')",
        "SELECT 3 = count(*) FROM x",
    ),
}


def follow(spark: SparkSession, statements: tuple[str, ...]) -> None:
    """Run statements; each SELECT must say true."""
    for statement in statements:
        answer = spark.sql(statement)
        if statement.startswith("SELECT"):
            row = answer.first()
            assert row is not None
            assert row[0] is True, statement


@nightly
@pytest.mark.parametrize("name", DELTA_SQL)
def test_delta_knows(spark: SparkSession, name: str) -> None:
    try:
        follow(spark, DELTA_SQL[name])
    finally:
        for table in ("y", "x"):
            spark.sql(f"DROP TABLE IF EXISTS {table}")


@nightly
@pytest.mark.parametrize("name", ICEBERG_SQL)
def test_iceberg_knows(spark: SparkSession, name: str) -> None:
    spark.sql("CREATE OR REPLACE TABLE ice.db.x (id BIGINT, v STRING) USING iceberg")
    spark.sql("INSERT INTO ice.db.x VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    try:
        follow(spark, tuple(text.replace(" x", " ice.db.x") for text in ICEBERG_SQL[name]))
    finally:
        with contextlib.suppress(Exception):
            spark.sql("DROP TABLE ice.db.x")


@nightly
def test_iceberg_streams(spark: SparkSession, place: str) -> None:
    for name in ("s", "t"):
        spark.sql(f"CREATE OR REPLACE TABLE ice.db.{name} (id BIGINT) USING iceberg")
    spark.sql("INSERT INTO ice.db.s VALUES (1)")
    sink = spark.readStream.format("iceberg").load("ice.db.s").writeStream.format("iceberg")
    sink = sink.outputMode("append").option("checkpointLocation", f"{place}-notes")
    sink.trigger(availableNow=True).toTable("ice.db.t").awaitTermination(60)
    assert spark.table("ice.db.t").count() == 1


@nightly
def test_delta_makes_generated_and_identity_columns(spark: SparkSession, place: str) -> None:
    from delta.tables import IdentityGenerator

    builder = DeltaTable.create(spark).location(place).addColumn("at", "TIMESTAMP")
    builder.addColumn("day", "DATE", generatedAlwaysAs="CAST(at AS DATE)").addColumn(
        "number", "BIGINT", generatedByDefaultAs=IdentityGenerator(start=10, step=2)
    ).execute()
    spark.sql(f"INSERT INTO delta.`{place}` (at) VALUES (TIMESTAMP '2024-01-02 03:04:05')")
    row = spark.read.load(place, "delta").selectExpr("string(day) AS day", "number").first()
    assert row is not None
    assert (row["day"], row["number"]) == ("2024-01-02", 10)


@nightly
@pytest.mark.parametrize("kind", ["avro", "parquet", "json", "csv", "orc"])
def test_spark_reads_and_writes(spark: SparkSession, place: str, kind: str) -> None:
    spark.range(5).write.format(kind).save(place)
    assert spark.read.format(kind).load(place).count() == 5


@nightly
def test_spark_runs_python_functions(spark: SparkSession) -> None:
    def double(column: pd.Series) -> pd.Series:
        return column * 2

    doubled = F.pandas_udf(double, "long")  # type: ignore[call-overload]
    assert spark.range(10).select(doubled("id")).toPandas().sum().item() == 90
