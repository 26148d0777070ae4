"""A lab's first minute without the lab: what Java learns from when set-up records classes.

Only `labspark.jars` runs it, in a process of its own. It touches what labs touch: Delta and
Iceberg tables, SQL, a stream, and the maintenance commands.
"""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from labspark.gateway import shut_down
from labspark.place import project_repo
from labspark.session import session

__all__ = ["rehearse"]


def rehearse(spark: SparkSession, folder: str) -> int:
    """Write, change, read and stream small tables below a folder; return the rows at the end."""
    from delta.tables import DeltaTable

    rows = spark.range(200).withColumn("at", F.current_timestamp()).withColumn("k", F.col("id") % 7)
    raw, path = f"{folder}/raw", f"{folder}/delta"
    rows.write.mode("overwrite").partitionBy("k").parquet(raw)
    rows.write.format("delta").mode("overwrite").partitionBy("k").save(path)
    table = DeltaTable.forPath(spark, path)
    joined = "t.id = s.id"
    source = rows.where("id > 100").alias("s")
    merge = table.alias("t").merge(source, joined).whenMatchedUpdateAll()
    merge.whenNotMatchedInsertAll().execute()
    table.update("id < 10", {"k": "k + 1"})
    table.delete("id < 5")
    stream = spark.readStream.schema(rows.schema).parquet(raw).groupBy("k").count()
    running = stream.writeStream.format("memory").queryName("counts").outputMode("complete")
    running.trigger(availableNow=True).start().awaitTermination(60)
    spark.read.format("delta").option("versionAsOf", 0).load(path).createOrReplaceTempView("t")
    spark.sql(
        "SELECT a.k, hour(a.at) AS hour, count(*) AS n, rank() OVER (ORDER BY count(*)) AS place "
        "FROM t a JOIN t b ON a.id = b.id GROUP BY ALL ORDER BY n"
    ).toPandas()
    table.optimize().executeZOrderBy("id")
    table.history().toPandas()
    spark.sql("CREATE TABLE ice.db.t (id BIGINT) USING iceberg")
    spark.sql("INSERT INTO ice.db.t VALUES (1)")
    return spark.table("ice.db.t").count()


if __name__ == "__main__":
    rehearse(session("rehearsal"), str(project_repo()))
    shut_down()
