# %% [markdown]
# # Lab mlops-05: It breaks
#
# Run the pipeline with three new columns of another team, find the cause of the failure in the log, and check that the endpoint kept answering.

# %% [markdown]
# ## What you will build
#
# - A **load on the endpoint** during the whole lab, counted by the platform.
# - A **failed DAG run**: the load succeeded, the training failed, the report did not start.
# - The **names of the columns** that caused the failure, read from the log.
# - A table of four ways to handle text columns: three raise an error, one **loses every row silently**.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlops-04 | The DAG `loans` and one good month | its last checkpoint |
# | 1 GB of free memory | One Spark driver at a time, here or in a job | `free -h` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
project_name: str = "loans"  # the project of lab mlops-02
month: str = "2024-03"  # the month that breaks the pipeline
batch_rows: int = 1_000  # how many loans it has
seed: int = 7  # the same seed makes the same loans
pace: float = 0.05  # seconds between two calls of a customer
finished: bool = False  # True: the clean-up stops the load and Spark

# %% [markdown]
# ## Setup

# %%
import json
import re
from threading import Event

import requests
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import StandardScaler, VectorAssembler

from labhelpers import Crowd, begin, check, data, quiz, settings, show, spark_session, wait, workspace
from labhelpers.cluster import caller, cluster_of, connect

begin("mlops/05")
place, k8s, home = settings(), connect(), workspace("mlops")
flow = f"airflow-{place.user}"
ordered = cluster_of("mlops-03", k8s, flow)

# %%
http, workbench = caller(k8s, f"workbench-{place.user}", "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"
web, airflow = caller(k8s, flow, "controller", 8080)
password = web.headers.pop("X-Auth-Token")
session = web.post(f"{airflow}/auth/token", json={"username": "learner", "password": password}, timeout=60)
web.headers["Authorization"] = f"Bearer {session.json()['access_token']}"

# %%
def call(client: requests.Session, verb: str, url: str, **more) -> requests.Response:
    answer = client.request(verb, url, timeout=60, **more)
    if not answer.ok:
        raise requests.HTTPError(f"{verb} {url}: {answer.status_code} {answer.text[:200]}")
    return answer


def bench(verb: str, path: str, **more) -> dict:
    return call(http, verb, f"{workbench}/api/v2{path}", **more).json()


def air(verb: str, path: str, **more) -> dict:
    return call(web, verb, f"{airflow}/api/v2/{path}", **more).json()


projects = bench("GET", "/projects?page_size=100")["projects"]
project = next(one["id"] for one in projects if one["name"] == project_name)
files = f"/projects/{project}/files"

# %% [markdown]
# ## 1. Put the endpoint under load
#
# Customers call the endpoint during an incident, too. A background thread now sends a call about every
# 50 ms. The workbench counts all calls and all failed calls; the checkpoints read its counters.

# %%
deployed = bench("GET", f"{files}/deployed.json")
sample = bench("GET", f"{files}/sample.json")
versions: list[int] = []
between = Event()


def ask() -> bool:
    body = {"accessKey": deployed["access_key"], "request": {"rows": sample[:5]}}
    answer = http.post(f"{workbench}/model", json=body, timeout=60)
    versions.append(answer.json()["response"]["prediction"]["version"] if answer.ok else 0)
    between.wait(pace)
    return answer.ok


# %%
customers = Crowd(ask).start()


def counted(what: str) -> int:
    text = call(http, "GET", f"{workbench}/metrics").text
    counters = rf'^workbench_{what}_total{{.*project_id="{project}".*}} (\d+)$'
    return sum(int(number) for number in re.findall(counters, text, re.M))


wait("twenty calls", lambda: len(versions), until=lambda seen: seen >= 20, deadline=120)
print("calls:", counted("calls"), "| failed:", counted("calls_failed"), "| version:", versions[-1])

# %%
def growing() -> bool:
    before = counted("calls")
    return wait("another call", lambda: counted("calls"), until=lambda seen: seen > before, deadline=20) > before


check(
    "The workbench counts the calls, and none has failed",
    lambda: growing() and counted("calls_failed") == 0,
    saw=lambda: f"{counted('calls'):,} calls, {counted('calls_failed')} failed",
    hint=[
        "Look at the two numbers: the first must grow, the second must be zero.",
        "Usually the load is not running, or the endpoint is stopped: `customers.asked` in a cell must grow.",
        "Run the cells that begin `deployed = bench` and `customers = Crowd` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Run the DAG with three new columns
#
# Term, home ownership and purpose predict charge-offs, as the picture in lab mlops-01 shows. So the risk
# team adds the three fields to the form, and the loader passes every column of the file on. The team that
# trains is not informed. You start the **same DAG** with the new month.

# %% tags=["blank"]
batch, _ = data.make_batch("texts", month, batch_rows, seed)
added = [name for name in batch if batch[name].dtype == object and name not in ("issue_d", "loan_status")]
uploaded = bench("PUT", f"{files}/{month}.csv", data=batch.to_csv(index=False).encode())
conf = {"batch": f"{month}.csv"}
# blank: Start the DAG `loans` with `conf`: POST to "dags/loans/dagRuns" as in lab mlops-04.
# blank: Store the `dag_run_id` in `run`.
# stub: run = None
# solution
run = air("POST", "dags/loans/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"]
# end of solution


def of_month() -> dict:
    listed = air("GET", "dags/loans/dagRuns?order_by=-run_after&limit=50")["dag_runs"]
    return next(one for one in listed if one["conf"].get("batch") == f"{month}.csv")


def states() -> dict[str, str]:
    path = f"dags/loans/dagRuns/{of_month()['dag_run_id']}/taskInstances?order_by=start_date"
    listed = air("GET", path)["task_instances"]
    return {one["task_id"]: one["state"] for one in listed}


# %%
def state() -> str:
    return of_month()["state"]


if run:
    wait("the DAG run", state, until=lambda seen: seen in ("success", "failed"), deadline=1200, every=1,
         ignoring=(OSError,))
    show.table([[name, seen] for name, seen in states().items()], columns=["task", "state"])

# %%
check(
    "The load succeeded, the training failed, and the report did not start",
    lambda: [states()[name] for name in ("load", "train_chain", "report", "end")]
    == ["success", "failed", "upstream_failed", "upstream_failed"],
    saw=lambda: ", ".join(f"{name}: {seen}" for name, seen in states().items()),
    hint=[
        "Look at the states: which task is the first that did not succeed?",
        "Usually the run has not ended yet: run `states()` in a cell again in a few seconds.",
        "Run the cells that begin `batch, _ = data` and `def state(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Read the failure
#
# The last line of the task's log names the job, the run and its state. The lines above it are the output
# of the run. Spark's error message names all columns that it does not support.

# %%
def log_of(task: str) -> list[str]:
    path = f"dags/loans/dagRuns/{of_month()['dag_run_id']}/taskInstances/{task}/logs/1?full_content=true"
    return [str(event["event"]) for event in air("GET", path)["content"]]


lines = log_of("train_chain")
print(*[line[:150] for line in lines if "Data type" in line or ": FAILED" in line or ": no run" in line], sep="\n")

# %% tags=["blank"]
text = "\n".join(lines)
# blank: Let `unsupported` be the set of names in "Data type string of column … is not supported".
# stub: unsupported = set()
# solution
unsupported = set(re.findall(r"Data type string of column (\w+) is not supported", text))
# end of solution
print(unsupported)

# %%
def named() -> set[str]:
    return set(re.findall(r"of column (\w+) is not supported", "\n".join(log_of("train_chain"))))


check(
    "You found the three columns that Spark does not support",
    lambda: unsupported == named() == {"term", "home_ownership", "purpose"},
    saw=lambda: f"in the log: {', '.join(sorted(named()))}",
    hint=[
        "Look at the lines that were printed: each names one column.",
        "Usually the pattern matches too much: `[line for line in lines if 'Data type' in line]` in a cell.",
        "Run the cells that begin `def log_of` and `text = ` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Find the partial results
#
# A failed run leaves partial results. `load` succeeded, so the month is in the table. The model file and
# the deployed version have not changed. You read both from the platform.

# %%
metadata = place.project_repo / "warehouse" / place.user / "ice" / "mlops" / "loans" / "metadata"


def history() -> list[tuple[str, int, int]]:
    number = (metadata / "version-hint.text").read_text().strip()
    found = json.loads((metadata / f"v{number}.metadata.json").read_text())
    sizes = [one["summary"] for one in found["snapshots"] if "added-records" in one["summary"]]
    return [(one["operation"], int(one["added-records"]), int(one["total-records"])) for one in sizes]


show.table(history(), columns=["operation", "added", "rows"])

# %% tags=["blank"]
loads = history()
# blank: Let `half` be the number of loans that the failed run added to the table; read it from the
# blank: last entry of `loads`.
# stub: half = 0
# solution
half = loads[-1][1]
# end of solution
print(f"{half:,} loans were loaded and not scored.")

# %%
def serving() -> dict:
    return bench("GET", f"{files}/deployed.json")


check(
    "The month is in the table, and version 1 is still deployed",
    lambda: half == history()[-1][1] == len(batch) and serving()["version"] == 1,
    saw=lambda: f"{history()[-1][1]:,} loans of the failed run; version {serving()['version']} is deployed",
    hint=[
        "Look at the history: its last line is the load of the failed run.",
        "Usually `half` is the size of the table, not of its last load: `history()[-1]` in a cell shows both.",
        "Run the cells that begin `batch, _ = data`, `def state(` and `loads = history` again.",
    ],
)

# %% [markdown]
# ## 5. Compare with silent failures
#
# This failure was easy to find: Spark raised an error that names the columns. Other programs cast the
# texts to numbers. You try four ways on 400 loans. Three raise an error, and only the first one names
# the columns. The fourth succeeds: look at its number of rows.

# %%
spark = spark_session("mlops")
saved = PipelineModel.load(str(home / "baseline"))
numbers = saved.stages[0].getInputCols()
few = spark.createDataFrame(batch.head(400))
cast = [f"try_cast({name} AS double) AS {name}" for name in added]
soft = few.selectExpr("loan_id", *numbers, *cast)
hard = few.selectExpr("loan_id", *numbers, *[f"CAST({name} AS double) AS {name}" for name in added])


def tried(frame, policy: str) -> str:
    assembler = VectorAssembler(inputCols=[*numbers, *added], outputCol="raw", handleInvalid=policy)
    scaler = StandardScaler(inputCol="raw", outputCol="features")
    assembled = assembler.transform(frame)
    if policy == "skip":
        return f"succeeds: {assembled.count()} of {frame.count()} loans are left"
    return f"{Pipeline(stages=[scaler]).fit(assembled).transform(assembled).count()} loans"


# %%
def outcome(frame, policy: str) -> str:
    try:
        return tried(frame, policy)
    except (PySparkException, Py4JJavaError) as error:
        words = [line for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {next((w for w in words if 'ncountered' in w), words[0])[:90]}"


variants = {"no cast": (few, "error"), "cast": (hard, "error"),
            "try_cast": (soft, "error"), "try_cast and skip": (soft, "skip")}
outcomes = {name: outcome(*variant) for name, variant in variants.items()}
show.table([[name, text] for name, text in outcomes.items()], columns=["variant", "result in Spark"])

# %%
check(
    "`try_cast` with `skip` succeeds and has lost every loan",
    lambda: tried(soft, "skip").startswith("succeeds: 0 of") and "column" in outcome(few, "error"),
    saw=lambda: tried(soft, "skip"),
    hint=[
        "Look at the table: one line begins with succeeds.",
        "Usually the columns were not cast with try_cast: `soft.show(3)` in a cell must show NULL.",
        "Run the cells that begin `spark = spark_session` and `def outcome(` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Check the endpoint
#
# The endpoint answered during the whole incident, because `push` runs after `train`: no new model, no
# deployment.

# %%
print(f"{counted('calls'):,} calls, {counted('calls_failed')} failed; versions seen: {sorted(set(versions))}")

# %%
check(
    "No call has failed, and version 1 is deployed",
    lambda: counted("calls_failed") == 0 and counted("calls") > 100 and serving()["version"] == 1,
    saw=lambda: f"{counted('calls'):,} calls, {counted('calls_failed')} failed, version {serving()['version']}",
    hint=[
        "Look at the count of failed calls: it must be zero.",
        "Usually the load was started seconds ago and has few calls: `counted('calls')` in a cell.",
        "Run the cells that begin `deployed = bench` and `customers = Crowd` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **The run succeeds**: `train.py` is the repaired program of lab mlops-06. Run lab mlops-02 again; it
#   uploads the first program.
# - **The load makes the machine slow**: set `pace` to 0.5 and run the cell that begins `deployed = bench`.
# - **`history()` has one entry**: lab mlops-01 has created the table again. Run lab mlops-04 first.

# %% [markdown]
# ## Exercise
#
# How many seconds passed from the start of the DAG run to its failure? Store them in `took`: this is the
# earliest time for an alert.
#
# Hint: a DAG run has a `duration`.

# %% tags=["exercise"]
# stub: took = None
# solution
took = of_month()["duration"]
# end of solution
print("seconds until the failure:", took)

# %% [markdown]
# ## Recap
#
# - The **load** ran during the whole lab, and the workbench counted no failed call.
# - The **DAG run** failed at the training; the report did not start.
# - The **log** named the three columns.
# - `try_cast` with `skip` lost every loan **silently**.
#
# More: [schema evolution in Iceberg](https://iceberg.apache.org/docs/latest/evolution/),
# [states of tasks in Airflow](https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/tasks.html),
# [postmortems, in the SRE book](https://sre.google/sre-book/postmortem-culture/).
#
# Next: you repair the pipeline with the tag of lab mlops-01.

# %%
quiz(
    "Why is the report `upstream_failed` and not `failed`?",
    ["It ran and failed", "It timed out", "It never ran, because a task before it failed"],
    right=2,
    because="Airflow does not start a task if an upstream task failed.",
)
quiz(
    "Which of the variants is the most dangerous one?",
    ["try_cast and skip", "cast", "no cast"],
    right=0,
    because="It succeeds, and no loan has a score.",
)
quiz(
    "Why did no call of the endpoint fail?",
    ["The endpoint was stopped", "The deployment runs after the training, which failed", "The batch was small"],
    right=1,
    because="The deployed version changes only after a new model was trained and pushed.",
)

# %% [markdown]
# ## Clean up
#
# The half-loaded month stays: the next lab needs it.

# %%
if finished:
    customers.stop()
    spark.stop()
print("kept: the failed run, the half-loaded month, version", serving()["version"])
