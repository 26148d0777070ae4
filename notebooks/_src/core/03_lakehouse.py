# %% [markdown]
# # Lab core-03: Build the lakehouse
#
# Turn a folder of raw taxi files into a table you can trust, and test each of its guarantees.

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
# With 30,000,000 rows the same cells run longer, and need no more memory than your machine has:
# Spark works through the rows in portions.

# %% tags=["parameters"]
rows: int = 200_000  # how many trips to make
months: int = 2  # shared evenly over so many months, from January 2024 on
seed: int = 7  # the same seed makes the same trips
own_files: str = ""  # a folder with months you fetched from the city; then no trips are made
spark_cluster: str = ""  # a name, such as spark-mine: orders a Spark cluster; empty: this machine
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup
#
# **Spark** is an engine that works on tables in parallel, on one machine or on hundreds. You talk
# to it through a **session**. This one knows the table format **Delta**.

# %%
import json
import os
from concurrent.futures import ThreadPoolExecutor
from shutil import copy, copytree
from urllib.parse import unquote, urlsplit

import delta.exceptions.captured  # noqa: F401  (lets Python catch Delta's own exceptions)
from delta.exceptions import ConcurrentAppendException
from pyspark.sql import functions as F

from labhelpers import begin, check, cluster, data, fresh, project_repo, quiz, refusal
from labhelpers import show, spark_session, wait, workspace
from labhelpers.spark import process

begin("core/03")
home = workspace("lakehouse")

# %% [markdown]
# Without a platform, Spark runs on this machine. With `spark_cluster = "spark-mine"`, the next cell orders
# the application `spark` of the catalogue, a master and a worker, and the same lab runs there;
# `kubectl get kdcluster` shows it.

# %%
if spark_cluster:
    k8s = cluster.connect()
    parts = {"master": {"cpu": "250m", "memory": "1Gi"}, "worker": {"cpu": "1", "memory": "2Gi"}}
    roles = [{"id": part, "members": 1, "serviceAccountName": "ecp-tenant-member-sa",
              "resources": {"requests": size, "limits": size}} for part, size in parts.items()]
    cluster.apply(k8s, "kubedirectorclusters", {
        "apiVersion": "kubedirector.hpe.com/v1beta1", "kind": "KubeDirectorCluster",
        "metadata": {"name": spark_cluster, "labels": cluster.labels("core/03")},
        "spec": {"app": "spark", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": roles}})
    master = cluster.wait_configured(k8s, spark_cluster)["status"]["roles"][0]["members"][0]
    os.environ["SPARK_MASTER"] = f"spark://{master['service']}.{k8s.namespace}.svc.cluster.local:7077"
spark = spark_session("lakehouse")
print("Spark runs on", spark.sparkContext.master)

# %% [markdown]
# ## 1. Look at the raw files
#
# A **data lake** is a folder of files. Each row is a trip: when, from where, to where, how far,
# what it cost. The files keep the types of the columns; their content was never checked. You count
# the trips that cannot be true: Spark reads all rows once and counts for every rule. Look at the
# bars: each is a way in which real files are wrong.

# %%
lake = data.find_trips(own_files) or data.make_trips(home / "lake", rows, months, seed)
trips = data.read_trips(spark, lake)
total = trips.count()
rules = {
    "end before they begin": "tpep_dropoff_datetime < tpep_pickup_datetime",
    "take a day": "tpep_dropoff_datetime > tpep_pickup_datetime + INTERVAL 22 HOURS",
    "go nowhere": "trip_distance = 0",
    "start in no known zone": "PULocationID > 263",
    "give money back": "fare_amount < 0",
}
found = trips.selectExpr([f"count_if({rule}) AS `{name}`" for name, rule in rules.items()])
dirt = found.toPandas().T.reset_index().set_axis(["trips that …", "trips"], axis=1)
show.bars(dirt, "trips that …", "trips", f"{total:,} raw trips hold what cannot be")
trips.select("tpep_pickup_datetime", "PULocationID", "trip_distance", "fare_amount").show(3)

# %% [markdown]
# There is a worse problem. A folder does not record which files belong together. When a copy job leaves
# one file twice, nothing warns you, and every sum is wrong from then on. You try this on a copy of the
# lake.

# %% tags=["blank"]
copied = copytree(lake, fresh(home / "copied"))
first = min(lake.glob("*.parquet"))
twice = copied / "january-again.parquet"
# blank: Copy the file `first` to `twice`, as a copy job that runs two times would.
# solution
copy(first, twice)
# end of solution


def trips_in(folder):
    return data.read_trips(spark, folder).count()


# %%
check(
    "The folder took a file twice and said nothing",
    lambda: trips_in(copied) > trips_in(lake),
    saw=lambda: f"{trips_in(lake):,} trips, then {trips_in(copied):,}: no error, no warning",
    hint=[
        "Look at the two folders: the copy must hold one file more than the lake.",
        "Usually the stray file is gone, because a later cell removed it, or the lake is empty: "
        f"`ls {home}/lake/trips {home}/copied` in a terminal shows both.",
        "Run the cell that begins `copied = copytree(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Turn files into a table
#
# **Delta** keeps Parquet files and adds a **transaction log**: the list of the files that *are*
# the table. You write the trips, in a folder for each month (a **partition**), then read the first
# commit. One line is one action. `metaData` holds the schema; `add` says that a
# file belongs to the table, and which are the smallest and the largest values in it: of the two columns
# that you will filter by, because for all columns the write takes half as long again. A month that
# slipped in from another year shows at once: it has a folder of its own.

# %%
rides = fresh(home / "rides")
spark.sql("DROP TABLE IF EXISTS rides")
by_month = trips.withColumn("month", F.date_format("tpep_pickup_datetime", "yyyy-MM"))
writer = by_month.write.partitionBy("month").option("maxRecordsPerFile", total // 24 + 1)
writer = writer.option("delta.dataSkippingStatsColumns", "tpep_pickup_datetime,PULocationID")
writer.saveAsTable("rides", "delta", path=str(rides))
show.files(rides, "The table: a log, and files in a folder for each month", rows=6)


def first_commit():
    return (rides / "_delta_log" / f"{0:020}.json").read_text().splitlines()


print(*[f"{action[:150]} …" for action in first_commit()[:4]], sep="\n")

# %%
check(
    "The log lists exactly the files of the table",
    lambda: sum('{"add"' in action for action in first_commit()) == len(show.listing(rides)),
    saw=lambda: f"{len(show.listing(rides))} files in the folder",
    hint=[
        "Compare two numbers: the lines with `add` in the first commit, the Parquet files beside it.",
        "Usually the folder holds files that a later step, or an earlier run, put there: "
        "`show.files(rides, rows=60)` in a cell lists them.",
        "Run the cell that begins `rides = fresh(` again: it writes the table into an empty folder.",
    ],
)

# %% [markdown]
# Do you have Parquet files already? Convert them **in place**. Not a byte of data moves: the
# folder gets a log, and is a table. You take the stray file out of the folder you spoiled, and
# convert it: from now on it knows which files are its own.

# %% tags=["blank"]
twice.unlink(missing_ok=True)
before = show.listing(copied)
# blank: Convert the Parquet files in the folder `copied` to a Delta table, in place, with SQL.
# solution
spark.sql(f"CONVERT TO DELTA parquet.`{copied}`")
# end of solution
show.files(copied, "Converted in place: the same files, and a log")

# %%
check(
    "CONVERT TO DELTA moved nothing and lost nothing",
    lambda: show.listing(copied) == before
    and spark.read.load(str(copied), "delta").count() == trips_in(lake),
    saw=lambda: f"{len(before)} files, untouched",
    hint=[
        "Look into the folder: the same Parquet files as before, and beside them `_delta_log`.",
        "Usually the folder was not converted, or was made anew since: "
        f"`ls {home}/copied {home}/copied/_delta_log` in a terminal shows it.",
        "Run the cells that begin `copied = copytree(` and `twice.unlink(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Ask in SQL
#
# A table has a name, so you can ask in **SQL**. When do people ride? Look for the evening peak of
# working days, and for the late nights of days off. Then: which routes are the busiest? You
# **join** the zones twice, for both ends of a trip. A **window function** ranks each borough's
# routes: it looks at a row's neighbours without merging them. Look at the bars: how far down the
# list do you find the first route that does not begin in Manhattan?

# %%
zones = spark.read.csv(str(data.zones_file()), header=True, inferSchema=True)
zones.createOrReplaceTempView("zones")
by_hour = spark.sql("""SELECT hour, avg(if(off, NULL, rides)) AS `working day`,
        avg(if(off, rides, NULL)) AS `day off`
    FROM (SELECT date(tpep_pickup_datetime) AS day, hour(tpep_pickup_datetime) AS hour,
                 weekday(tpep_pickup_datetime) >= 5 AS off, count(*) AS rides
          FROM rides WHERE month > '2022-01' GROUP BY ALL)
    GROUP BY hour ORDER BY hour""").toPandas()
show.lines(by_hour, "hour", ["working day", "day off"], "The evening is the peak", unit="rides in an hour")

# %%
routes = spark.sql("""SELECT a.Borough, concat(a.Zone, ' → ', b.Zone) AS route, count(*) AS rides,
        row_number() OVER (PARTITION BY a.Borough ORDER BY count(*) DESC) AS place
    FROM rides JOIN zones a ON PULocationID = a.LocationID
               JOIN zones b ON DOLocationID = b.LocationID
    WHERE a.Zone != b.Zone GROUP BY a.Borough, route""")
routes = routes.where("place <= 3").orderBy(F.desc("rides")).toPandas()
routes["route"] = routes["Borough"] + ": " + routes["route"]
show.bars(routes.head(9), "route", "rides", "Manhattan's routes lead, Queens follows")

# %%
hours = "SELECT count(DISTINCT hour(tpep_pickup_datetime)) FROM rides"
known = "SELECT count(*) FROM rides JOIN zones ON PULocationID = LocationID"
check(
    "Every hour of the day has rides, and nearly every ride a zone",
    lambda: spark.sql(hours).first()[0] == 24
    and spark.sql(known).first()[0] > 0.9 * spark.table("rides").count(),
    saw=lambda: f"{spark.sql(hours).first()[0]} hours; {spark.sql(known).first()[0]:,} rides in zones",
    hint=[
        "Look at what was found: 24 hours, and more than nine rides in ten with a zone.",
        'Usually a table is missing or holds few rides: `spark.sql("SHOW TABLES").show()` in a cell '
        "lists `rides` and `zones`.",
        "Run the cells that begin `rides = fresh(` and `zones = spark.read` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Follow a stream
#
# Trips do not wait for the end of the month. A **stream** is a query that keeps running: whenever
# a file arrives, its rows go into the table `live`. It writes what it has done into a folder of its own,
# its **progress log** (Spark's option for it is called `checkpointLocation`). A second stream counts the
# rows of that table, and the picture is drawn after each delivery: watch the bars grow.

# %%
arrivals, live, notes, sums = (fresh(home / name) for name in ("arrivals", "live", "notes", "sums"))
parcels = data.deliveries(first, arrivals, parts=20)
next(parcels)


def start_stream():
    files = spark.readStream.option("maxFilesPerTrigger", 1).schema(trips.schema)
    table = files.parquet(str(arrivals)).writeStream.option("checkpointLocation", str(notes))
    return table.start(str(live), "delta")


# %%
stream = start_stream()
stream.processAllAvailable()
counts = spark.readStream.load(str(live), "delta").groupBy("PULocationID").count()
counting = counts.writeStream.queryName("busiest").option("checkpointLocation", str(sums))
counting = counting.start(format="memory", outputMode="complete")
top = "SELECT Zone, count AS rides FROM busiest JOIN zones ON PULocationID = LocationID ORDER BY 2 DESC"
picture = show.Live()
for number in (2, 3, 4):
    next(parcels)
    stream.processAllAvailable()
    counting.processAllAvailable()
    picture.draw(spark.sql(f"{top} LIMIT 6").toPandas(), "Zone", "rides", f"After {number} files")
counting.stop()

# %% [markdown]
# Now break it. You stop the stream, let two files arrive meanwhile, and delete the last entry of the
# progress log, as a crash between the write and the entry would. The stream repeats its last delivery,
# and the table takes it only once: each commit of the stream has an action `txn` with the number of its
# delivery, and a number that is in the log already is not written again.

# %%
stream.stop()
next(parcels), next(parcels)
data.tear_last_page(notes)
stream = start_stream()
stream.processAllAvailable()
stream.stop()


def arrived():
    return spark.read.load(str(live), "delta").count()


def numbers():
    log = (live / "_delta_log").glob("*.json")
    lines = [line for commit in log for line in commit.read_text().splitlines()]
    return sorted(json.loads(line)["txn"]["version"] for line in lines if '"txn"' in line)


print("Deliveries in the log of the table:", numbers())


# %%
check(
    "Every trip arrived exactly once",
    lambda: arrived() == spark.read.parquet(str(arrivals)).count()
    and numbers() == list(range(len(list(arrivals.glob("*.parquet"))))),
    saw=lambda: f"{arrived():,} in the table, {spark.read.parquet(str(arrivals)).count():,} delivered; "
    f"txn {numbers()}",
    hint=[
        "Compare two numbers: the trips in the files that arrived, and the trips in the table `live`.",
        "Usually a file arrived after the stream had stopped, or a cell of this step ran twice: "
        f"`ls {home}/arrivals` in a terminal lists the deliveries, six of them.",
        "Run the cells that begin `arrivals, live, notes, sums =`, `stream = start_stream()` and "
        "`stream.stop()` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Test every letter of ACID
#
# **Atomicity**: a change happens as a whole or not at all. A second process appends all rides once
# more. As soon as its first file is on disk, you kill it with SIGKILL, which no program can catch.
# Its files are there; the log does not list them, so they are not in the table.

# %%
WRITER = """import sys; from labhelpers import spark_session
frame = spark_session("writer").read.load(sys.argv[1], "delta")
frame.write.save(sys.argv[1], "delta", mode="append", maxRecordsPerFile=500)"""
listed, there = show.listing(rides), spark.table("rides").count()
victim = process.start_python(WRITER, rides)
wait("its first file", lambda: show.listing(rides) - listed, deadline=600, every=0.05)
process.kill(victim)


def orphans():
    return show.listing(rides) - listed


# %%
check(
    "Atomicity: the killed writer left files, and no change",
    lambda: orphans() and spark.table("rides").count() == there,
    saw=lambda: f"orphaned files: {len(orphans())}; {spark.table('rides').count():,} rides",
    hint=[
        "Look at two things: files that were not there before, and rides as many as before.",
        "Twice as many rides mean that the writer was faster than you, and its change is whole: take "
        'more `rows`. No file means that it broke: `show.files(rides, rows=60)` in a cell lists all.',
        "Run the cells that begin `rides = fresh(` and `WRITER =` again, then this one.",
    ],
)

# %% [markdown]
# **Consistency**: a table keeps its rules. It refuses a text where money belongs. It refuses a
# rule that its own rows break, so you delete those rows; then it refuses every new row that breaks
# it. It accepts a new column when you ask for that with `mergeSchema`: the city added this one in 2025.

# %% tags=["blank"]
spark.sql("RESTORE TABLE rides TO VERSION AS OF 0")  # so that this cell may run twice
one = spark.table("rides").limit(1)
text = one.withColumn("fare_amount", F.lit("a lot"))
backwards = one.withColumn("tpep_dropoff_datetime", F.col("tpep_pickup_datetime"))
with_fee = one.withColumn("cbd_congestion_fee", F.lit(0.75))
forward = "tpep_dropoff_datetime > tpep_pickup_datetime"
rule = f"ALTER TABLE rides ADD CONSTRAINT forward CHECK ({forward})"
refusal("text as money", lambda: text.write.save(str(rides), "delta", "append"))
refusal("a rule that old rows break", lambda: spark.sql(rule))
# blank: Delete the rides that are not `forward`, so that the table can take the rule.
# solution
spark.sql(f"DELETE FROM rides WHERE NOT ({forward})")
# end of solution
spark.sql(rule)
refusal("a ride back in time", lambda: backwards.write.save(str(rides), "delta", "append"))
with_fee.write.save(str(rides), "delta", "append", mergeSchema=True)

# %%
check(
    "Consistency: only rides that move forward, and the new column",
    lambda: spark.table("rides").where(f"NOT ({forward})").isEmpty()
    and "cbd_congestion_fee" in spark.table("rides").columns,
    saw=lambda: f"{spark.table('rides').count():,} rides, all forward; {len(spark.table('rides').columns)} columns",
    hint=[
        "Look at the refusals above: there must be three, and then one write that was let in.",
        "Usually the table was restored or written anew since, and has lost its rule: "
        '`spark.sql("SHOW TBLPROPERTIES rides").show(truncate=False)` in a cell lists it.',
        'Run the cell that begins `spark.sql("RESTORE TABLE` again, then this one.',
    ],
)

# %% [markdown]
# **Isolation**: nobody sees another's half-done work. Two writers add 1 to every row of one table,
# at once. Both start from the same version; the first to commit wins; the other one gets an
# exception and tries again from the new version. Meanwhile a reader looks all the time.

# %%
tally, conflicts, seen = f"delta.`{home / 'tally'}`", [], set()
spark.range(1000).selectExpr("0 AS n").write.save(str(home / "tally"), "delta", "overwrite")


def add_one():
    try:
        spark.sql(f"UPDATE {tally} SET n = n + 1")
    except ConcurrentAppendException as lost:
        conflicts.append(type(lost).__name__)
        add_one()


with ThreadPoolExecutor() as pool:
    writers = [pool.submit(add_one), pool.submit(add_one)]
    while not all(writer.done() for writer in writers):
        seen.add(tuple(spark.sql(f"SELECT min(n), max(n) FROM {tally}").first()))
    [writer.result() for writer in writers]  # an error that nobody expected is raised here

# %%
check(
    "Isolation: one lost and tried again, both effects are there, nobody saw half of one",
    lambda: (
        spark.sql(f"SELECT * FROM {tally} WHERE n != 2").isEmpty()
        and conflicts
        and seen <= {(0, 0), (1, 1), (2, 2)}
    ),
    saw=lambda: f"{conflicts}; a reader saw (least, most) {sorted(seen)}",
    hint=[
        "Look at what was found: one conflict at least, and pairs of equal numbers.",
        "No conflict means that the two writers did not meet: one was done before the other began. "
        '`spark.sql(f"SELECT n, count(*) FROM {tally} GROUP BY n").show()` in a cell shows the table.',
        "Run the cell that begins `tally, conflicts, seen` again, then this one.",
    ],
)

# %% [markdown]
# **Durability**: what is committed stays when the process that wrote it has ended. A new process gets
# nothing but the folder. It reads the log from its beginning and counts the rides.

# %% tags=["blank"]
# stub: READER = "print(0)"
# blank: Write a program that reads the Delta table at `sys.argv[1]` and prints its number of rows.
# solution
READER = """import sys; from labhelpers import spark_session
print(spark_session("reader").read.load(sys.argv[1], "delta").count())"""
# end of solution
read_again = int(process.run_python(READER, rides))
print(f"A process that knows nothing but the folder counts {read_again:,} rides.")

# %%
check(
    "Durability: a new process reads every ride back",
    lambda: read_again == spark.table("rides").count(),
    saw=lambda: f"{read_again:,} rides there, {spark.table('rides').count():,} here",
    hint=[
        "Compare the two numbers: what the new process counted, and what this session counts.",
        "Usually the table was changed after the new process had looked: "
        '`spark.sql("DESCRIBE HISTORY rides").select("version", "operation").show()` in a cell tells.',
        "Run the cell that begins `READER =` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Change the past, and travel to it
#
# Late trips change a table of days. **MERGE** updates the days that are there and inserts those
# that are not. The **change data feed** tells the next table what changed: look how an update
# appears as two rows, the old and the new one.

# %%
fresh(home / "days")
days = "SELECT to_date(tpep_pickup_datetime) AS day, PULocationID AS zone, count(*) AS rides FROM"
spark.sql(f"""CREATE OR REPLACE TABLE days USING delta LOCATION '{home / "days"}'
    TBLPROPERTIES (delta.enableChangeDataFeed = true) AS {days} rides GROUP BY ALL""")
spark.sql(f"""MERGE INTO days USING ({days} delta.`{live}` GROUP BY ALL) AS late
    ON days.day = late.day AND days.zone = late.zone
    WHEN MATCHED THEN UPDATE SET rides = days.rides + late.rides
    WHEN NOT MATCHED THEN INSERT *""")
spark.sql("UPDATE days SET zone = 264 WHERE zone = 265")
spark.sql("DELETE FROM days WHERE day < '2024-01-01'")
changes = spark.sql("""SELECT _commit_version AS version, _change_type AS change, count(*) AS rows
    FROM table_changes('days', 1) GROUP BY ALL ORDER BY ALL""")
show.table(changes.toPandas(), "What changed, version by version")

# %% [markdown]
# Somebody forgets a `WHERE`. Every version is still there: you look at the table **as of** an
# earlier version or time, and **restore** it. The history keeps the accident, too.

# %%
good, when = spark.sql("DESCRIBE HISTORY rides").selectExpr("version", "string(timestamp)").first()
spark.sql("DELETE FROM rides")
for clause in ("", "VERSION AS OF 0", f"TIMESTAMP AS OF '{when}'"):
    print(f"{spark.sql(f'SELECT * FROM rides {clause}').count():>12,} rides {clause or 'now'}")
spark.sql(f"RESTORE TABLE rides TO VERSION AS OF {good}")
history = spark.sql("DESCRIBE HISTORY rides").selectExpr(
    "version", "string(timestamp) AS time", "operation"
)
show.table(history.toPandas(), "The table remembers")

# %% [markdown]
# Where a zone's rows are spread over all files, Spark must read them all to find one zone. **OPTIMIZE**
# writes small files together; **ZORDER** puts the rows of one zone into the same files, so Spark can
# skip the others: compare the kB. **VACUUM** then deletes what no version within a week needs. Here
# you force it to keep nothing: the orphans go, and so does the past. That is its price.

# %%
def to_read(condition="true"):
    return show.read_size(spark.table("rides").where(condition))


jfk, whole = "PULocationID = 132", to_read()
before = to_read(jfk)
spark.conf.set("spark.databricks.delta.optimize.maxFileSize", whole["kB"] * 1000 // 24)
spark.sql("OPTIMIZE rides ZORDER BY (PULocationID)")
show.compare(before, to_read(jfk), "To find the rides from JFK, Spark reads a fraction")

# %%
refusal("VACUUM within a week", lambda: spark.sql("VACUUM rides RETAIN 0 HOURS"))
spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", False)
spark.sql("VACUUM rides RETAIN 0 HOURS")
spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", True)
refusal("version 0", lambda: spark.sql("SELECT * FROM rides VERSION AS OF 0").collect())


def left_over():
    named = {unquote(urlsplit(file).path) for file in spark.table("rides").inputFiles()}
    return [file for file in show.listing(rides) if str(file) not in named]


# %%
check(
    "RESTORE brought the rides back, ZORDER reads less, VACUUM removed the orphans",
    lambda: spark.table("rides").count() == read_again
    and 0 < to_read(jfk)["kB"] < to_read()["kB"] / 2
    and not left_over(),
    saw=lambda: f"{spark.table('rides').count():,} rides; for JFK {to_read(jfk)['kB']} of "
    f"{to_read()['kB']} kB; {len(left_over())} files too many",
    hint=[
        "Check which of the three differs: the rides, the kB for JFK, or the files.",
        "Usually the cells of this step ran in another order: `spark.sql("
        '"DESCRIBE HISTORY rides").select("version", "operation").show()` in a cell shows it.',
        'Run the cells that begin `def to_read(` and `refusal("VACUUM` again, then this one. Are rides '
        "missing? Then start again from step 2.",
    ],
)

# %% [markdown]
# ## 7. Hand on a clean table
#
# The model of the next lab predicts how long a ride takes. It needs rides that can be true, once
# each, with **features**: what you know when the ride begins. You write down the table's version,
# so that a training can be repeated whatever happens to the table later.

# %%
rules = """SELECT DISTINCT tpep_pickup_datetime, PULocationID, DOLocationID, trip_distance,
        a.latitude AS start_latitude, a.longitude AS start_longitude,
        b.latitude AS end_latitude, b.longitude AS end_longitude,
        month(tpep_pickup_datetime) AS month, hour(tpep_pickup_datetime) AS hour,
        int(weekday(tpep_pickup_datetime) < 5) AS weekday,
        int(weekday = 1 AND hour BETWEEN 8 AND 17) AS work,
        timestampdiff(SECOND, tpep_pickup_datetime, tpep_dropoff_datetime) AS duration
    FROM rides JOIN zones a ON PULocationID = a.LocationID
               JOIN zones b ON DOLocationID = b.LocationID
    WHERE trip_distance BETWEEN 0.01 AND 150 AND fare_amount > 0 AND rides.month > '2022-01'"""
(home / "clean.sql").write_text(rules, "utf-8")  # the next month is cleaned by the same rules
clean = spark.sql(rules)

# %%
path = home / "trips"
clean.where("duration BETWEEN 21 AND 10799").write.save(str(path), "delta", "overwrite")
version = spark.sql(f"DESCRIBE HISTORY delta.`{path}`").first().version
table = spark.read.load(str(path), "delta", versionAsOf=version)
place = str(path.relative_to(project_repo()))
record = {"path": place, "version": version, "rows": table.count(), "columns": table.columns}
(home / "trips.json").write_text(json.dumps(record, indent=1))
show.table(table.limit(3).toPandas().T.reset_index(names="column"), "Three rides, ready for a model")

# %%
def handed():
    said = json.loads((home / "trips.json").read_text())
    found = spark.read.load(str(project_repo() / said["path"]), "delta", versionAsOf=said["version"])
    return said, found


check(
    "A clean table is handed on, with its version",
    lambda: handed()[0]["rows"] == handed()[1].count() > 0.8 * total
    and handed()[1].where("duration <= 20").isEmpty(),
    saw=lambda: f"version {handed()[0]['version']}, {handed()[0]['rows']:,} of {total:,} trips",
    hint=[
        "Look at the file trips.json beside the table: its version, its rows.",
        "Usually the table is of another run than the file, or step 6 left too few rides: "
        f"`cat {home}/trips.json` in a terminal shows what was handed on.",
        "Run the cell that begins `path = home` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# | Symptom | Cure |
# |---|---|
# | `Expected Java 17 to 23 for Spark` | `LABS_JAVA_HOME` or your system names another Java. Type `make setup`. |
# | `Expected room to write, found none` | The message says where. Make room, take fewer `rows`, and run from the top. |
# | `Not all files from version 0 are available`, in step 5 | VACUUM in step 6 deleted them. Run again from step 2 on. |

# %% [markdown]
# ## Exercise
#
# Ten minutes, if you like. Which five zones gained the most rides by the `MERGE` of step 6?
# Compare version 0 of the table `days` with version 1. Hint: `VERSION AS OF` works on both sides
# of a join; or sum the rides per zone in each version and subtract.

# %% tags=["exercise"]
# solution
# stub: gained = spark.sql("SELECT zone, 0 AS gained FROM days VERSION AS OF 1 LIMIT 5")
gained = spark.sql("""
    WITH old AS (SELECT zone, sum(rides) AS rides FROM days VERSION AS OF 0 GROUP BY zone),
         new AS (SELECT zone, sum(rides) AS rides FROM days VERSION AS OF 1 GROUP BY zone)
    SELECT zone, new.rides - coalesce(old.rides, 0) AS gained
    FROM new LEFT JOIN old USING (zone) ORDER BY gained DESC LIMIT 5""")
# end of solution
show.table(gained.toPandas(), "Zones that gained the most")

# %% [markdown]
# ## Recap
#
# - You made a **table** out of raw files, and read in its log which files count.
# - You fed a table from a **stream**, broke the stream, and no trip was lost or doubled.
# - You tested **ACID**: a killed writer, a broken rule, a collision, a new process that read the log.
# - You handed on a **feature-ready table** and wrote its version down.
#
# More: [the protocol of Delta tables](https://github.com/delta-io/delta/blob/master/PROTOCOL.md),
# [VACUUM and other commands](https://docs.delta.io/3.2.1/delta-utility.html),
# [streams in Spark](https://spark.apache.org/docs/4.0.0/streaming/index.html).
#
# Next, lab core-04 trains a model on exactly the version you wrote down.

# %%
quiz(
    "Why does a reader never see half of a commit?",
    ["Readers wait", "Luck", "Files count only once the log lists them, all at once"],
    right=2,
    because="The last act of a writer is one new file in the log; before it, nothing has changed.",
)
quiz(
    "What would have been lost if both writers of step 5 had been allowed to commit?",
    ["Nothing", "One of the two additions", "The table"],
    right=1,
    because="Both read 0 and would have written 1. The second had to start again from 1.",
)
quiz(
    "What do you give up when you run VACUUM early?",
    ["The way back to earlier versions", "Speed", "The newest rows"],
    right=0,
    because="It deletes the files that only the past needs.",
)

# %% [markdown]
# ## Clean up
#
# Nothing is removed until you say that you are finished: type `finished = True` in a cell and run this
# one. It then removes what only this lab needs, and ends Spark. It keeps `trips` and `trips.json`,
# because the next lab reads them, and the raw files, because they are slow to make again.

# %%
if finished:
    for name in ("copied", "rides", "arrivals", "live", "notes", "sums", "tally", "days"):
        fresh(home / name)
    spark.stop()
    if spark_cluster:
        cluster.remove(cluster.connect(), "core/03")
show.files(home, "What stays", rows=6)
