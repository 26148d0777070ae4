# %% [markdown]
# # Lab core-03: Build the lakehouse
#
# Turn a folder of raw taxi files into a table you can trust, and see every promise kept.

# %% [markdown]
# ## What you will build
#
# - A **table** out of raw files of taxi trips: the files, and a log that says which of them count.
# - A **stream** that fills a table while files arrive, and neither loses nor doubles a trip.
# - Proof of **ACID**, letter by letter: you kill a writer, break a rule, let two writers collide.
# - A clean, **feature-ready table**, its version written down for the lab that trains a model.
#
# ![Raw files flow into a Delta table, at once or as a stream; the log beside the files makes
# versions, and one version is handed on to training.](../../Pictures/core-03-lakehouse.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | The environment of the labs | Spark, Delta and Java come with it | `labs doctor` |
# | 2 GB of free disk | Tables keep their old files for a while | `df -h` |
# | No knowledge of Spark | You learn what you need on the way | Read on |

# %% [markdown]
# ## Parameters
#
# With 30,000,000 rows the same cells run longer, and need no more memory.

# %% tags=["parameters"]
rows: int = 200_000  # how many trips to make
months: int = 2  # shared evenly over so many months, from January 2024 on
seed: int = 7  # the same seed makes the same trips
own_files: str = ""  # a folder with months you fetched from the city; then no trips are made

# %% [markdown]
# ## Setup
#
# **Spark** is an engine that works on tables in parallel, on one machine or on hundreds. You talk
# to it through a **session**. This one knows the table format **Delta**.

# %%
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import delta.exceptions.captured  # lets Python see Delta's own exceptions
import matplotlib.pyplot as plt
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from delta.exceptions import ConcurrentAppendException, ConcurrentDeleteReadException
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from labhelpers import show
from labhelpers.check import begin, check
from labhelpers.data import make_trips, read_trips, zones_file
from labhelpers.repository import project_repo, workspace
from labhelpers.spark import reason, session
from labhelpers.wait import wait

begin("core/03")
show.style()
spark = session("lakehouse")
home = workspace("lakehouse")
print(f"Spark {spark.version} on {spark.sparkContext.master}; your tables are in {home}")

# %% [markdown]
# ## 1. Look at the raw files
#
# A **data lake** is a folder of files. Each line is a trip: when, from where, to where, how far,
# what it cost. The file format keeps the types, and nobody checked the content. Count what cannot
# be true: Spark runs through all rows once and counts for every rule.

# %%
lake = Path(own_files or make_trips(home / "lake", rows, months, seed)[0].parent).resolve()
show.files(lake, "The lake")
trips = read_trips(spark, lake)
seconds = F.unix_timestamp("tpep_dropoff_datetime") - F.unix_timestamp("tpep_pickup_datetime")
rules = {
    "ends before it begins": seconds < 0,
    "takes almost a day": seconds > 80_000,
    "goes nowhere": F.col("trip_distance") == 0,
    "starts in no known zone": F.col("PULocationID") > 263,
    "nobody counted the passengers": F.col("passenger_count").isNull(),
    "money is given back": F.col("fare_amount") < 0,
    "slipped in from 2022": F.year("tpep_pickup_datetime") == 2022,
}
found = trips.select([F.count_if(rule).alias(name) for name, rule in rules.items()])
dirt = found.toPandas().T.reset_index().set_axis(["a trip that…", "trips"], axis=1)
total = trips.count()
show.bars(dirt, "a trip that…", "trips", f"What cannot be, in {total:,} raw trips")
trips.select("tpep_pickup_datetime", "PULocationID", "trip_distance", "fare_amount").show(3)

# %% [markdown]
# There is a worse flaw. A folder has no idea which files belong together. Let a copy job leave one
# file twice: nothing warns you, and every sum is wrong from now on. (You try this in a folder of
# links to the raw files, so the lake stays as it is.)

# %%
links = home / "links"
shutil.rmtree(links, ignore_errors=True)
shutil.copytree(lake, links, copy_function=os.symlink)
first = min(lake.glob("*.parquet"))
(links / "copy-of-january.parquet").symlink_to(first)
with_copy = read_trips(spark, links).count()
(links / "copy-of-january.parquet").unlink()
print(f"{total:,} trips, then {with_copy:,}: no error, no warning")
check(
    "The folder took a file twice and said nothing",
    lambda: with_copy - total == pq.read_metadata(first).num_rows,
    saw=lambda: f"{with_copy - total:,} trips too many",
    hint=["Run the cell above once more.", "The lake needs at least one file: see Parameters."],
)

# %% [markdown]
# ## 2. Turn files into a table
#
# **Delta** keeps Parquet files and adds a **transaction log**: the list of the files that *are* the
# table. You write the trips, in a folder for each month (a **partition**), then read the first
# commit with your own eyes. One line is one action; `add` says: this file belongs to the table.


# %%
def read_commit(table: Path, version: int) -> list[dict]:
    lines = (table / "_delta_log" / f"{version:020}.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


rides = home / "rides"
spark.sql("DROP TABLE IF EXISTS rides")
shutil.rmtree(rides, ignore_errors=True)  # this cell may run twice
by_month = trips.withColumn("month", F.date_format("tpep_pickup_datetime", "yyyy-MM"))
writer = by_month.write.format("delta").partitionBy("month").option("path", str(rides))
writer.option("maxRecordsPerFile", total // 24 + 1).saveAsTable("rides")
show.files(rides, "The table: a log, and files in a folder for each month", rows=6)
actions = read_commit(rides, 0)
for action in actions[:4]:
    print(json.dumps(action)[:160])

# %% [markdown]
# Do you have Parquet files already? Convert them **in place**. Not a byte of data moves: the folder
# gets a log, and is a table.

# %%
before = {file.name for file in links.glob("*.parquet")}
spark.sql(f"CONVERT TO DELTA parquet.`{links}`")
converted = spark.read.format("delta").load(str(links)).count()
show.files(links, "Converted in place: the same files, and a log")
check(
    "The log lists exactly the files of the table",
    lambda: (
        {action["add"]["path"] for action in actions if "add" in action}
        == {str(file.relative_to(rides)) for file in rides.glob("month=*/*.parquet")}
    ),
    saw=lambda: f"{sum('add' in action for action in actions)} files in the log",
    hint="Run the cell that writes the table again; it starts from an empty folder.",
)
check(
    "CONVERT TO DELTA moved nothing and lost nothing",
    lambda: before == {file.name for file in links.glob("*.parquet")} and converted == total,
    saw=lambda: f"{len(before)} files, {converted:,} trips",
    hint="Run the cell that makes the links, then this one.",
)

# %% [markdown]
# ## 3. Ask in SQL
#
# A table has a name, so you can ask in **SQL**. When do people ride? Then: which routes are the
# busiest? You **join** the zones twice, for both ends of a trip, and rank each borough's routes with
# a **window function**, which looks at a row's neighbours without merging them.

# %%
zones = spark.read.csv(str(zones_file()), header=True, inferSchema=True)
zones.createOrReplaceTempView("zones")
by_hour = spark.sql("""
    SELECT hour(tpep_pickup_datetime) AS hour,
           count_if(weekday(tpep_pickup_datetime) < 5) / 5 AS `working day`,
           count_if(weekday(tpep_pickup_datetime) >= 5) / 2 AS `day off`
    FROM rides GROUP BY hour ORDER BY hour""").toPandas()
show.lines(by_hour, "hour", ["working day", "day off"], "The evening is the peak", unit="rides")

# %%
routes = spark.sql("""
    WITH routes AS (
        SELECT a.Borough, concat(a.Zone, ' → ', b.Zone) AS route, count(*) AS rides
        FROM rides JOIN zones a ON PULocationID = a.LocationID
                   JOIN zones b ON DOLocationID = b.LocationID
        WHERE a.Zone != b.Zone GROUP BY ALL),
    ranked AS (
        SELECT *, row_number() OVER (PARTITION BY Borough ORDER BY rides DESC, route) AS place
        FROM routes)
    SELECT * FROM ranked WHERE place <= 3 ORDER BY rides DESC""").toPandas()
show.bars(routes.head(9), "route", "rides", "Three busiest routes of each borough")
check(
    "Every route was ranked in its borough",
    lambda: (
        by_hour["hour"].tolist() == list(range(24)) and routes.groupby("Borough").size().max() == 3
    ),
    saw=lambda: f"{len(routes)} routes in {routes['Borough'].nunique()} boroughs",
    hint="Run the two cells above, from the first one on.",
)

# %% [markdown]
# ## 4. Follow a stream
#
# Trips do not wait for the end of the month. A **stream** is a query that keeps running: whenever a
# file arrives, its rows go into the table `live`. A second stream counts what is in that table, and
# the picture is drawn again after each delivery.

# %%
arrivals, live, notes = home / "arrivals", home / "live", home / "stream-notes"
for folder in (arrivals, live, notes):
    shutil.rmtree(folder, ignore_errors=True)
arrivals.mkdir()
parts = pq.ParquetFile(first).iter_batches(batch_size=total // 60 + 1)


def deliver(name: str) -> None:
    pq.write_table(pa.Table.from_batches([next(parts)]), home / "new.parquet")
    (home / "new.parquet").rename(arrivals / f"{name}.parquet")  # a file arrives whole


def start_stream():
    files = spark.readStream.schema(trips.schema).option("maxFilesPerTrigger", 1)
    table = files.parquet(str(arrivals)).writeStream.format("delta")
    return table.option("checkpointLocation", str(notes)).start(str(live))


# %%
deliver("1")
stream = start_stream()
stream.processAllAvailable()
counted = spark.readStream.format("delta").load(str(live)).groupBy("PULocationID").count()
counts = counted.writeStream.format("memory").queryName("busiest").outputMode("complete").start()
picture = show.Live()
for name in ("2", "3", "4"):
    deliver(name)
    stream.processAllAvailable()
    counts.processAllAvailable()
    top = spark.sql("SELECT Zone, count FROM busiest JOIN zones ON PULocationID = LocationID")
    top = top.orderBy(F.desc("count")).limit(6).toPandas()
    picture.draw(lambda ax: show.bars(top, "Zone", "count", f"After delivery {name}", ax=ax))
counts.stop()

# %% [markdown]
# Now break it. You stop the stream, let two files arrive meanwhile, and tear the last page out of
# its notes (the **checkpoint**), as a crash between writing and noting would. The stream must repeat
# its last delivery; the table knows from its log (`txn`) that it has it.

# %%
stream.stop()
deliver("5")
deliver("6")
page = max((notes / "commits").glob("[0-9]*"), key=lambda page: int(page.name))
page.unlink()
page.with_name(f".{page.name}.crc").unlink(missing_ok=True)  # its checksum
stream = start_stream()
stream.processAllAvailable()
stream.stop()
delivered = sum(pq.read_metadata(file).num_rows for file in arrivals.glob("*.parquet"))
arrived = spark.read.format("delta").load(str(live)).count()
check(
    "Every trip arrived exactly once",
    lambda: arrived == delivered,
    saw=lambda: f"{delivered:,} delivered, {arrived:,} in the table",
    hint="Run the three cells of this step again, from the first one on.",
)

# %% [markdown]
# ## 5. Test every letter of ACID
#
# **Atomicity**: a change happens as a whole or not at all. A second process appends all rides once
# more. As soon as its first files are on disk, you kill it with SIGKILL, which no program can catch.
# Its files are there; the log does not list them, so they are not in the table.

# %%
WRITER = """
import sys; from labhelpers.spark import session
rides = session("writer").read.format("delta").load(sys.argv[1])
rides.write.format("delta").mode("append").option("maxRecordsPerFile", 500).save(sys.argv[1])"""
small = {**os.environ, "SPARK_MASTER": "local[1]", "SPARK_CONF_spark_driver_memory": "768m"}
listed = set(rides.glob("month=*/*.parquet"))
process = subprocess.Popen([sys.executable, "-c", WRITER, str(rides)], env=small)
wait(
    "the writer to be in the middle of its work",
    lambda: len(set(rides.glob("month=*/*.parquet")) - listed),
    until=lambda files: files > 5,
    deadline=180,
    every=0.05,
)
for victim in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
    victim.kill()
process.wait()
orphans = set(rides.glob("month=*/*.parquet")) - listed
check(
    "Atomicity: the killed writer left files, and no change",
    lambda: (
        orphans
        and spark.table("rides").count() == total
        and not (rides / "_delta_log" / f"{1:020}.json").exists()
    ),
    saw=lambda: f"{len(orphans)} orphaned files, still {total:,} rides",
    hint=["Run step 2 and this cell again.", "Was the writer too fast? Take more rows."],
)

# %% [markdown]
# **Consistency**: a table keeps its rules. It refuses a text where money belongs. It refuses a rule
# that its own rows break, so you delete those rows; then it refuses every new row that breaks it. A
# new column is welcome when you say so: the city added one for its congestion fee in 2025.

# %%
refusals = []


def attempt(text: str, action) -> None:
    try:
        action()
    except (PySparkException, Py4JJavaError) as error:
        refusals.append(text)
        print(f"REFUSED {text}: {reason(error)}\n")


one = spark.table("rides").limit(1)
append = lambda frame: frame.write.format("delta").mode("append").save(str(rides))
rule = (
    "ALTER TABLE rides ADD CONSTRAINT forward CHECK (tpep_dropoff_datetime > tpep_pickup_datetime)"
)
attempt("text as money", lambda: append(one.withColumn("fare_amount", F.lit("a lot"))))
attempt("a rule old rows break", lambda: spark.sql(rule))
spark.sql("DELETE FROM rides WHERE tpep_dropoff_datetime <= tpep_pickup_datetime")
spark.sql(rule)
attempt(
    "a ride back in time",
    lambda: append(one.withColumn("tpep_dropoff_datetime", F.col("tpep_pickup_datetime"))),
)
fee = one.withColumn("cbd_congestion_fee", F.lit(0.75))
attempt("an unknown column", lambda: append(fee))
fee.write.format("delta").mode("append").option("mergeSchema", True).save(str(rides))
check(
    "Consistency: four refusals, then one welcome column",
    lambda: len(refusals) >= 4 and "cbd_congestion_fee" in spark.table("rides").columns,
    saw=lambda: ", ".join(refusals),
    hint="Run step 2 again: the table then has no rule yet. Then run this cell.",
)

# %% [markdown]
# **Isolation**: writers do not see each other's half-done work. Two writers add 1 to every row of
# one table, at once. Both start from the same version; the first to commit wins; the other one gets
# an exception and tries again from the new version. A reader looks all the time.

# %%
tally, conflicts, seen = home / "tally", [], []
spark.range(1000).withColumn("n", F.lit(0)).write.format("delta").mode("overwrite").save(str(tally))


def add_one(gate: threading.Barrier) -> None:
    gate.wait()
    for _ in range(5):
        try:
            return spark.sql(f"UPDATE delta.`{tally}` SET n = n + 1")
        except (ConcurrentAppendException, ConcurrentDeleteReadException) as lost:
            conflicts.append(type(lost).__name__)


gate = threading.Barrier(2)
writers = [threading.Thread(target=add_one, args=[gate]) for _ in range(2)]
[thread.start() for thread in writers]
while any(thread.is_alive() for thread in writers):
    seen.append(
        tuple(spark.read.format("delta").load(str(tally)).agg(F.min("n"), F.max("n")).first())
    )
print(f"Collisions: {conflicts}; a reader saw (least, most): {sorted(set(seen))}")
check(
    "Isolation: one lost, tried again, and both effects are there",
    lambda: (
        conflicts
        and spark.read.format("delta").load(str(tally)).where("n != 2").isEmpty()
        and all(least == most for least, most in seen)
    ),
    saw=lambda: f"{len(conflicts)} collision, {len(set(seen))} states seen, none half-done",
    hint="The two did not meet? Run this cell again.",
)

# %% [markdown]
# **Durability**: what is committed stays, whoever dies. A new process without Spark reads nothing
# but the log: it adds what was added, drops what was removed, and counts the rows of what is left.

# %%
READER = """
import json, pathlib, sys; import pyarrow.parquet as pq
table, files = pathlib.Path(sys.argv[1]), set()
for commit in sorted((table / "_delta_log").glob("*.json")):
    for action in map(json.loads, commit.read_text().splitlines()):
        files |= {action["add"]["path"]} if "add" in action else set()
        files -= {action["remove"]["path"]} if "remove" in action else set()
print(sum(pq.read_metadata(table / file).num_rows for file in files))"""
done = subprocess.run([sys.executable, "-c", READER, str(rides)], capture_output=True, text=True)
check(
    "Durability: a new process finds every ride through the log",
    lambda: int(done.stdout) == spark.table("rides").count(),
    saw=lambda: f"{int(done.stdout):,} rides",
    hint="Look at what the process said: print(done.stderr).",
)

# %% [markdown]
# ## 6. Change the past, and travel to it
#
# Late trips change a table of days. **MERGE** updates the days that are there and inserts those that
# are not. The **change data feed** tells the next table what changed, row by row.

# %%
days = "SELECT to_date(tpep_pickup_datetime) AS day, PULocationID AS zone, count(*) AS rides FROM"
spark.sql("DROP TABLE IF EXISTS days")
shutil.rmtree(home / "days", ignore_errors=True)
spark.sql(f"""CREATE TABLE days USING delta LOCATION '{home / "days"}'
    TBLPROPERTIES (delta.enableChangeDataFeed = true) AS {days} rides GROUP BY ALL""")
spark.sql(f"""MERGE INTO days USING ({days} delta.`{live}` GROUP BY ALL) AS late
    ON days.day = late.day AND days.zone = late.zone
    WHEN MATCHED THEN UPDATE SET rides = days.rides + late.rides
    WHEN NOT MATCHED THEN INSERT *""")
spark.sql("UPDATE days SET zone = 264 WHERE zone = 265")
spark.sql("DELETE FROM days WHERE day < '2024-01-01'")
changes = spark.sql("""SELECT _commit_version AS version, _change_type AS change, count(*) AS rows
    FROM table_changes('days', 1) GROUP BY ALL ORDER BY ALL""").toPandas()
show.table(changes, "What changed, version by version")

# %% [markdown]
# Somebody forgets a `WHERE`. Every version is still there: you look at the table **as of** an earlier
# version or time, and **restore** it. The history keeps the accident, too.


# %%
def history(table: str):
    past = spark.sql(f"DESCRIBE HISTORY {table}")
    return past.selectExpr("version", "string(timestamp) AS timestamp", "operation")


good, kept = history("rides").first(), spark.table("rides").count()
spark.sql("DELETE FROM rides")
asked = {"now": "", "version 0": "VERSION AS OF 0", "before": f"TIMESTAMP AS OF '{good.timestamp}'"}
for name, clause in asked.items():
    print(f"{name:10} {spark.sql(f'SELECT count(*) FROM rides {clause}').first()[0]:>12,}")
spark.sql(f"RESTORE TABLE rides TO VERSION AS OF {good.version}")
show.table(history("rides").toPandas(), "The table remembers")

# %% [markdown]
# Many small files make every question slow. **OPTIMIZE** writes them together; **ZORDER** puts rows
# of one zone into the same files, so Spark can skip the others. **VACUUM** then deletes what no
# version within the retention needs. Here you force it to keep nothing: the past is gone for good.


# %%
def files_read() -> tuple[int, int]:
    files = spark.table("rides").where("PULocationID = 132").inputFiles()
    return len(files), sum(
        Path(file.removeprefix("file:")).stat().st_size for file in files
    ) // 1000


on_disk = sum(file.stat().st_size for file in rides.glob("month=*/*.parquet"))
spark.conf.set("spark.databricks.delta.optimize.maxFileSize", on_disk // 24)
many = files_read()
spark.sql("OPTIMIZE rides ZORDER BY (PULocationID)")
few = files_read()
figure, axes = plt.subplots(1, 2, figsize=(8.4, 1.7))
for number, unit in enumerate(("files", "kB")):
    bars = pd.DataFrame({"when": ["before", "after"], unit: [many[number], few[number]]})
    show.bars(bars, "when", unit, f"{unit} read for JFK", ax=axes[number])
plt.show()

# %%
attempt("VACUUM within the retention", lambda: spark.sql("VACUUM rides RETAIN 0 HOURS"))
spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", False)
spark.sql("VACUUM rides RETAIN 0 HOURS")
spark.conf.unset("spark.databricks.delta.retentionDurationCheck.enabled")
attempt(
    "version 0", lambda: spark.sql("SELECT sum(fare_amount) FROM rides VERSION AS OF 0").collect()
)
check(
    "RESTORE brought all rides back, ZORDER reads less, VACUUM removed the orphans",
    lambda: (
        spark.table("rides").count() == kept
        and few[1] < many[1]
        and not any(map(os.path.exists, orphans))
        and "version 0" in refusals
    ),
    saw=lambda: f"{kept:,} rides; {many[1]:,} kB read before, {few[1]:,} after",
    hint="Run this step again from its first cell. VACUUM is refused as long as its check is on.",
)

# %% [markdown]
# ## 7. Hand on a clean table
#
# The model of the next lab predicts how long a ride takes. It needs rides that can be true, once
# each, with **features**: what you know when the ride begins. You write down the table's version, so
# that the training is repeatable whatever happens to the table later.

# %%
clean = spark.sql("""
    SELECT DISTINCT tpep_pickup_datetime, PULocationID, DOLocationID, trip_distance,
        a.latitude AS start_latitude, a.longitude AS start_longitude,
        b.latitude AS end_latitude, b.longitude AS end_longitude,
        month(tpep_pickup_datetime) AS month, hour(tpep_pickup_datetime) AS hour,
        int(weekday(tpep_pickup_datetime) < 5) AS weekday,
        int(weekday(tpep_pickup_datetime) < 5
            AND hour(tpep_pickup_datetime) BETWEEN 8 AND 17) AS work,
        timestampdiff(SECOND, tpep_pickup_datetime, tpep_dropoff_datetime) AS duration
    FROM rides JOIN zones a ON PULocationID = a.LocationID
               JOIN zones b ON DOLocationID = b.LocationID
    WHERE trip_distance > 0 AND trip_distance < 150 AND fare_amount > 0
        AND month != '2022-01'""").where("duration > 20 AND duration < 10800")

# %%
path = home / "trips"
saver = clean.write.format("delta").mode("overwrite").option("overwriteSchema", True)
saver.save(str(path))
version = history(f"delta.`{path}`").first().version
table = spark.read.format("delta").option("versionAsOf", version).load(str(path))
record = {"path": str(path.relative_to(project_repo())), "version": version, "rows": table.count()}
(home / "trips.json").write_text(json.dumps({**record, "columns": table.columns}, indent=1))
show.table(table.limit(3).toPandas().T.reset_index().astype(str), "Ready for a model")
check(
    "A clean table is handed on, with its version",
    lambda: 0.8 * kept < record["rows"] < kept and table.where("duration <= 20").isEmpty(),
    saw=lambda: f"version {version}, {record['rows']:,} of {total:,} trips",
    hint="Run step 6 first, then both cells of this step.",
)

# %% [markdown]
# ## If it does not work
#
# | Symptom | Cure |
# |---|---|
# | `Expected Java 17 to 23 for Spark` | Your system has another Java. Type `make setup`. |
# | A cell ends with `No space left on device` | Clean up below, or take fewer rows. |
# | A checkpoint of step 5 fails after you ran a cell twice | Run again from step 2 on: that cell starts the table anew. |

# %% [markdown]
# ## Exercise
#
# Ten minutes, if you like. Which five zones gained the most rides by the `MERGE` of step 6? Compare
# version 0 of the table `days` with version 1. Hint: `VERSION AS OF` works on both sides of a join;
# or sum the rides per zone in each version and subtract.

# %% tags=["exercise"]
# solution
# stub: gained = spark.sql("SELECT zone, 0 AS gained FROM days VERSION AS OF 1 LIMIT 5")
gained = spark.sql("""
    SELECT zone, sum(new.rides) - coalesce(sum(old.rides), 0) AS gained
    FROM days VERSION AS OF 1 AS new LEFT JOIN days VERSION AS OF 0 AS old USING (day, zone)
    GROUP BY zone ORDER BY gained DESC LIMIT 5""")
# end of solution
show.table(gained.toPandas(), "Zones that gained the most")

# %% [markdown]
# ## Recap
#
# - You made a **table** out of raw files, and read in its log which files count.
# - You fed a table from a **stream**, broke the stream, and no trip was lost or doubled.
# - You tested **ACID**: a killed writer, a broken rule, a collision, a stranger who read the log.
# - You handed on a **feature-ready table** and wrote its version down.
#
# Three questions. Why does a reader never see half of a commit? What would the second writer have
# destroyed if both had been allowed to commit? What do you give up when you run VACUUM early?
#
# Next, lab core-04 trains a model on exactly the version you wrote down.

# %% [markdown]
# ## Clean up
#
# This removes what only this lab needs. It keeps `trips` and `trips.json`, because the next lab
# reads them, and the raw files, because they are slow to make again.

# %%
for name in ("links", "rides", "arrivals", "live", "stream-notes", "tally", "days"):
    shutil.rmtree(home / name, ignore_errors=True)
spark.stop()
show.files(home, "What stays", rows=6)
