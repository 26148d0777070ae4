# %% [markdown]
# # Lab logistics-00: Generate the fleet
#
# Generate the data of a fleet with a job on the platform, and load it into a table that keeps every version.

# %% [markdown]
# ## What you will build
#
# - A **workbench** of your own: projects, jobs and models behind a REST API.
# - A **job** in a project, started by a request and followed to its end, and one that fails.
# - An **Iceberg table** of the fleet in which each row occurs once, although some arrive twice.
# - A **tag** on the version that models will be trained on.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-01 | A kubeconfig for your tenant | `kubectl get pod` |
# | The `workbench` app | It runs the service | `kubectl get kdapp workbench` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
devices: int = 40  # how many; each sends 1,440 rows a day
seed: int = 7  # the same seed makes the same rows
project_name: str = "fleet-DEV"  # the project that holds the script and the job
finished: bool = False  # True: the clean-up removes the project, the table and the workbench

# %% [markdown]
# ## Setup

# %%
import requests
from pyspark.sql.functions import partitioning

from labhelpers import begin, check, quiz, refusal, settings, show, spark_session, wait, workspace
from labhelpers.cluster import apply, caller, connect, labels, remove, wait_configured

begin("logistics/00")
place, k8s, home = settings(), connect(), workspace("logistics-00")
spark = spark_session("logistics-00")
bench, table = f"workbench-{place.user}", "ice.fleet.iot"

# %% [markdown]
# ## 1. Order a workbench
#
# A **workbench** keeps a team's projects, runs their jobs and serves their models. It is an application of
# the catalogue, ordered like the others. Its service account may start jobs and deployments in your
# tenant, and nothing else.

# %%
size = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
role = {"id": "Workbench", "members": 1, "serviceAccountName": "workbench", "resources": size}
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": bench, "labels": labels("logistics/00")},
    "spec": {"app": "workbench", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": [role]},
}
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, bench)

# %% [markdown]
# The workbench has a REST API, **API v2**: JSON over HTTPS, with a key in the header `Authorization`. The
# token of the kdcluster is the administrator's key. You call it with `requests`; any HTTP client works.

# %%
http, address = caller(k8s, bench, "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers['X-Auth-Token']}"


def ask(verb: str, path: str, body: dict | None = None, **more) -> dict:
    answer = http.request(verb, f"{address}/api/v2{path}", json=body, timeout=60, **more)
    answer.raise_for_status()
    return answer.json()


show.table([[one["kernel"], one["status"]] for one in ask("GET", "/runtimes")["runtimes"]], columns=["runtime", "status"])

# %%
def without_a_key() -> dict:
    return requests.get(f"{address}/api/v2/projects", verify=str(place.ca), timeout=30).json()


check(
    "The workbench answers a request with a key, and refuses others with code 16",
    lambda: "projects" in ask("GET", "/projects") and without_a_key()["code"] == 16,
    saw=lambda: f"without a key: {without_a_key()['message']}",
    hint=[
        f"Look at the kdcluster {bench}: is it configured?",
        "Usually the service is still starting, or was deleted: "
        f"`kubectl get kdcluster {bench}` in a terminal says what it waits for.",
        "Run the cells that begin `size = {` and `http, address` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Put a script into a project
#
# A **project** is a folder with permissions. The script below takes day, size and seed as arguments, so
# nobody has to edit it. It generates the batch that arrives on one day: nearly all rows of that day, late
# rows of the day before (1 %), and some rows twice (0.2 %), as real devices send them.

# %% tags=["blank"]
SCRIPT = """
import sys
from labdata.fleet import batch_of

day, devices, seed = map(int, sys.argv[1:4])
rows = batch_of(seed, range(devices), day)
rows.to_parquet(f"batch-{day}.parquet", index=False)
print(f"{len(rows):,} rows arrived on day {day}")
"""
there = ask("GET", "/projects", params={"search_filter": f'{{"name": "{project_name}"}}'})["projects"]
project = there[0] if there else ask("POST", "/projects", {"name": project_name, "template": "local"})
base = f"/projects/{project['id']}"
# blank: Upload SCRIPT with ask: PUT to f"{base}/files/generate.py", the text as `data`, in UTF-8.
# solution
ask("PUT", f"{base}/files/generate.py", data=SCRIPT.encode())
# end of solution
print([file["path"] for file in ask("GET", f"{base}/files/")["files"]])

# %%
def content(name: str) -> bytes:
    answer = http.get(f"{address}/api/v2{base}/files/{name}", timeout=60)
    answer.raise_for_status()
    return answer.content


check(
    "The project holds the script as you wrote it",
    lambda: b"batch_of(seed, range(devices), day)" in content("generate.py"),
    saw=lambda: f"{len(content('generate.py'))} bytes in project {project_name}",
    hint=[
        "Look at the number of bytes: the script has a few hundred.",
        "Usually the project was deleted, or the file has another name: "
        '`ask("GET", f"{base}/files/")` in a cell lists its files.',
        "Run the cell that begins `SCRIPT = ` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Run a job
#
# A **job** defines what to run, with how much processor and memory; a **run** is one execution. Each run
# is a Kubernetes Job with a pod of its own, and its status is that of the pod. You start two runs. The
# first one fails because its script does not exist; its log says so.

# %%
def job(name: str, script: str) -> str:
    listed = ask("GET", f"{base}/jobs", params={"search_filter": f'{{"name": "{name}"}}'})["jobs"]
    body = {"name": name, "script": script, "cpu": 1, "memory": 1}
    return (listed[0] if listed else ask("POST", f"{base}/jobs", body))["id"]


def run(job_id: str, arguments: str) -> dict:
    path = f"{base}/jobs/{job_id}/runs"
    number = ask("POST", path, {"arguments": arguments})["id"]
    return wait("the run to end", lambda: ask("GET", f"{path}/{number}"),
                until=lambda seen: seen["status"] in ("ENGINE_SUCCEEDED", "ENGINE_FAILED"), deadline=300)


def log(done: dict) -> str:
    return ask("GET", f"{base}/jobs/{done['job_id']}/runs/{done['id']}/logs")["logs"].strip()


wrong = run(job("Wrong path", "generat.py"), "0 1 7")
print(wrong["status"], log(wrong).splitlines()[-1], sep="\n")

# %% tags=["blank"]
generate = job("Data Gen", "generate.py")
# blank: Name `done`: the run of the job `generate` with the arguments day 0, devices and seed.
# stub: done = wrong
# solution
done = run(generate, f"0 {devices} {seed}")
# end of solution
print(done["status"], log(done), sep="\n")

# %%
def states(name: str) -> list[str]:
    runs = ask("GET", f"{base}/jobs/{job(name, 'generate.py')}/runs", params={"page_size": 100})["job_runs"]
    return [one["status"] for one in runs]


check(
    "The wrong path failed, the right one succeeded and left a file",
    lambda: "ENGINE_FAILED" in states("Wrong path") and states("Data Gen")[-1] == "ENGINE_SUCCEEDED"
    and content("batch-0.parquet")[:4] == b"PAR1",
    saw=lambda: f"Data Gen: {states('Data Gen')[-1]}, a file of {len(content('batch-0.parquet')):,} bytes",
    hint=[
        "Look at the status of the last run and at the file it wrote.",
        "Usually the run ended in an error: `print(log(done))` in a cell shows its output.",
        "Run the cells that begin `SCRIPT = ` and `generate = job(` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Take the batch into a table
#
# **Iceberg** is a table format: data files, and snapshots that list which files belong to the table.
# `create` fails when the table exists. Do not catch that error and append: a repeated load would then
# store its rows twice. `MERGE` may be repeated, because it inserts only rows whose `id` is new.

# %% tags=["blank"]
def batch(day: int):
    (home / f"batch-{day}.parquet").write_bytes(content(f"batch-{day}.parquet"))
    return spark.read.parquet(str(home / f"batch-{day}.parquet"))


spark.sql("CREATE NAMESPACE IF NOT EXISTS ice.fleet")
spark.sql(f"DROP TABLE IF EXISTS {table} PURGE")
first = batch(0)
once = first.dropDuplicates(["id"])
once.writeTo(table).using("iceberg").partitionedBy(partitioning.days("event_ts")).create()
refusal("to create the table twice", lambda: once.writeTo(table).using("iceberg").create())
first.createOrReplaceTempView("arrived")
# blank: Complete MERGE: match the ids, and insert what is not matched.
# stub: MERGE = f"INSERT INTO {table} SELECT * FROM arrived"
# solution
MERGE = f"""MERGE INTO {table} AS fleet USING (SELECT DISTINCT * FROM arrived) AS new
    ON fleet.id = new.id WHEN NOT MATCHED THEN INSERT *"""
# end of solution
spark.sql(MERGE)
print(f"{first.count():,} rows arrived, {spark.table(table).count():,} are in the table")

# %%
def rows_and_ids(version: str = "") -> tuple[int, int]:
    return tuple(spark.sql(f"SELECT count(*), count(DISTINCT id) FROM {table} {version}").first())


check(
    "Loading twice changed nothing: each id is in the table once",
    lambda: rows_and_ids()[0] == rows_and_ids()[1] > 0.98 * devices * 1440,
    saw=lambda: "{:,} rows, {:,} different ids".format(*rows_and_ids()),
    hint=[
        "Compare the two numbers: as many rows as different ids.",
        "Usually the batch was inserted and not merged: `print(MERGE)` in a cell shows the statement.",
        "Run the cell that begins `def batch(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Take the next day, and tag the version
#
# The second batch holds the next day and the late rows of the first. The table is **partitioned** by the
# day of the event, so a late row goes to the day when it happened, not when it arrived. Each change makes
# a **snapshot**. A **tag** names one, so that a year from now you can read what a model was trained on.

# %% tags=["blank"]
second = run(generate, f"1 {devices} {seed}")
batch(1).createOrReplaceTempView("arrived")
spark.sql(MERGE)
newest = spark.sql(f"SELECT snapshot_id FROM {table}.snapshots ORDER BY committed_at DESC").first()[0]
# blank: Complete TAG: create or replace the tag `train-v1` of the table as of version `newest`.
# stub: TAG = f"SELECT {newest}"
# solution
TAG = f"ALTER TABLE {table} CREATE OR REPLACE TAG `train-v1` AS OF VERSION {newest} RETAIN 365 DAYS"
# end of solution
spark.sql(TAG)
history = spark.sql(f"""SELECT committed_at, operation, int(summary['added-records']) AS added,
    int(summary['total-records']) AS total FROM {table}.snapshots ORDER BY committed_at""").toPandas()
show.table(history, "Each change of the table makes a snapshot")

# %%
days = spark.sql(f"""SELECT cast(partition.event_ts_day AS string) AS day, sum(record_count) AS rows
    FROM {table}.partitions GROUP BY 1 ORDER BY 1""").toPandas()
show.bars(days, "day", "rows", "The first day is complete; late rows of the second arrive with the next batch")

# %%
def first_day() -> int:
    return spark.table(table).where("event_ts < '2026-03-03'").count()


check(
    "The first day is whole, no row counts twice, and the tag names this version",
    lambda: first_day() == devices * 1440
    and rows_and_ids("VERSION AS OF 'train-v1'") == rows_and_ids() == (rows_and_ids()[1],) * 2,
    saw=lambda: f"{first_day():,} rows of the first day; {rows_and_ids()[0]:,} in all",
    hint=[
        f"Look at the first day: 1,440 rows of {devices} devices.",
        "Usually the second run has not ended well, or the tag was not made: "
        "`spark.sql(f'SELECT * FROM {table}.refs').show()` in a cell lists the tags.",
        "Run the cells that begin `def batch(` and `second = run(` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **409, `already has a job`**: names are unique within a project. Use the job that is there.
# - **400, `active run`**: a manual job runs once at a time. Wait, or stop the run: `POST …/runs/<id>:stop`.
# - **`TABLE_OR_VIEW_ALREADY_EXISTS`**: `create` makes new tables only. `MERGE` or `append` adds rows;
#   `createOrReplace` replaces them and keeps the history.

# %% [markdown]
# ## Exercise
#
# How many rows of the first day arrived a day late? Compare the table after the first load with the table
# now, and store the number in `late`.
#
# Hint: `VERSION AS OF` takes the id of a snapshot; the first one has no parent.

# %% tags=["exercise"]
# stub: late = 0
# solution
oldest = spark.sql(f"SELECT snapshot_id FROM {table}.snapshots WHERE parent_id IS NULL").first()[0]
late = first_day() - rows_and_ids(f"VERSION AS OF {oldest}")[0]
# end of solution
print(f"{late} of {devices * 1440:,} rows arrived late")

# %% [markdown]
# ## Recap
#
# - Your **workbench** answers requests that have a key, and refuses others.
# - A **job** generated the data in a pod; one with a wrong path failed, and its log says why.
# - The **table** has each row once, however often a batch is loaded.
# - The **tag** `train-v1` names the version that models are trained on.
#
# More: [MERGE in Iceberg](https://iceberg.apache.org/docs/latest/spark-writes/),
# [Iceberg's tags and branches](https://iceberg.apache.org/docs/latest/branching/),
# [Jobs in Kubernetes](https://kubernetes.io/docs/concepts/workloads/controllers/job/).
#
# Next: the events on a map.

# %%
quiz(
    "A batch was loaded twice with MERGE on the id. What is in the table?",
    ["Each row twice", "Each row once", "Nothing: MERGE fails"],
    right=1,
    because="Only rows whose id is not there yet are inserted.",
)
quiz(
    "A row of Monday arrives on Tuesday. In which partition is it?",
    ["In Tuesday's", "In both", "In Monday's"],
    right=2,
    because="The table is partitioned by the time of the event, not by that of the load.",
)
quiz(
    "Why give a version a tag?",
    ["Old snapshots are removed, tagged ones are kept", "A tag is faster to read", "Tags are needed to append"],
    right=0,
    because="Removing old snapshots keeps tagged ones, so what a model was trained on can still be read.",
)

# %% [markdown]
# ## Clean up
#
# The next labs use the workbench and the table. To remove them, type `finished = True` in a cell and
# run this one; running it twice is safe.

# %%
if finished:
    spark.sql(f"DROP TABLE IF EXISTS {table} PURGE")
print(remove(k8s, "logistics/00") if finished else f"Kept: {bench}, project {project_name} and {table}")
