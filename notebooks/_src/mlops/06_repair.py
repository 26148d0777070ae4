# %% [markdown]
# # Lab mlops-06: Repair by time travel
#
# Roll the table back to the snapshot before the failure, retrain on the tagged data, and run the same DAG again while the endpoint is under load.

# %% [markdown]
# ## What you will build
#
# - A **rollback** that removes the half-loaded month, and a test of what a rollback does not restore.
# - A **refit** of the baseline on the tagged rows with bit-identical weights.
# - A comparison of three **policies** for unseen values: error, skip, keep.
# - **Version 2** on the endpoint, and 0 failed calls of 2,000 or more over both labs.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlops-05 | The failed run and the half-loaded month | its last checkpoint |
# | 1 GB of free memory | One Spark driver at a time, here or in a job | `free -h` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
project_name: str = "loans"  # the project of lab mlops-02
month: str = "2024-03"  # the month that broke the pipeline
batch_rows: int = 1_000  # how many loans it has
seed: int = 7  # the same seed makes the same loans
pace: float = 0.05  # seconds between two calls of a customer
calls: int = 2_000  # the least number of calls over labs mlops-05 and mlops-06
finished: bool = False  # True: the clean-up stops the load

# %% [markdown]
# ## Setup

# %%
import json
import math
import re
from threading import Event

import pandas as pd
import requests
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import functions as F

from labhelpers import Crowd, begin, check, data, quiz, settings, show, spark_session, wait, workspace
from labhelpers.cluster import caller, cluster_of, connect

begin("mlops/06")
place, k8s, home = settings(), connect(), workspace("mlops")
flow, table = f"airflow-{place.user}", "ice.mlops.loans"
ordered = cluster_of("mlops-03", k8s, flow)

# %%
http, workbench = caller(k8s, f"workbench-{place.user}", "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"
web, airflow = caller(k8s, flow, "controller", 8080)
password = web.headers.pop("X-Auth-Token")
session = web.post(f"{airflow}/auth/token", json={"username": "learner", "password": password}, timeout=60)
web.headers["Authorization"] = f"Bearer {session.json()['access_token']}"


def call(client: requests.Session, verb: str, url: str, **more) -> requests.Response:
    answer = client.request(verb, url, timeout=60, **more)
    if not answer.ok:
        raise requests.HTTPError(f"{verb} {url}: {answer.status_code} {answer.text[:200]}")
    return answer


# %%
def bench(verb: str, path: str, **more) -> dict:
    return call(http, verb, f"{workbench}/api/v2{path}", **more).json()


def air(verb: str, path: str, **more) -> dict:
    return call(web, verb, f"{airflow}/api/v2/{path}", **more).json()


projects = bench("GET", "/projects?page_size=100")["projects"]
project = next(one["id"] for one in projects if one["name"] == project_name)
files = f"/projects/{project}/files"
deployed, sample = bench("GET", f"{files}/deployed.json"), bench("GET", f"{files}/sample.json")

# %% [markdown]
# The load runs as in lab mlops-05. You record the model version of each answer: after version 2, version
# 1 must not answer again.

# %%
versions: list[int] = []
between = Event()


def ask() -> bool:
    body = {"accessKey": deployed["access_key"], "request": {"rows": sample[:5]}}
    answer = http.post(f"{workbench}/model", json=body, timeout=60)
    versions.append(answer.json()["response"]["prediction"]["version"] if answer.ok else 0)
    between.wait(pace)
    return answer.ok


def counted(what: str) -> int:
    text = call(http, "GET", f"{workbench}/metrics").text
    counters = rf'^workbench_{what}_total{{.*project_id="{project}".*}} (\d+)$'
    return sum(int(number) for number in re.findall(counters, text, re.M))


customers = Crowd(ask).start()

# %% [markdown]
# ## 1. Roll the table back
#
# The month was loaded and not scored. Iceberg still has the snapshot before it. You set `main` back to
# that snapshot: no data file is rewritten, only a reference changes. The month of lab mlops-04 stays.

# %%
spark = spark_session("mlops")


def history() -> pd.DataFrame:
    question = f"""SELECT h.snapshot_id, h.is_current_ancestor AS counts, s.summary['added-records'] AS added,
        s.summary['total-records'] AS rows FROM {table}.history h JOIN {table}.snapshots s
        ON h.snapshot_id = s.snapshot_id ORDER BY h.made_current_at"""
    return spark.sql(question).toPandas().astype(str)


def loaded() -> int:
    return spark.table(table).where(F.col("issue_d") == month).count()


show.table(history(), "Before the repair")

# %% tags=["blank"]
ids = spark.sql(f"""SELECT snapshot_id, parent_id FROM {table}.snapshots
    WHERE summary['added-records'] > 0 ORDER BY committed_at DESC""").collect()  # a second load added none
before = ids[0].parent_id
if loaded():
    # blank: Call Iceberg's procedure: CALL ice.system.rollback_to_snapshot('mlops.loans', <before>).
    # solution
    spark.sql(f"CALL ice.system.rollback_to_snapshot('mlops.loans', {before})")
    # end of solution
    print("main is at", before)

# %%
check(
    "The half-loaded month is not in the table, and the month before it is",
    lambda: loaded() == 0 and spark.table(table).count() > spark.sql(
        f"SELECT * FROM {table} VERSION AS OF 'trained_v1'").count(),
    saw=lambda: f"{loaded()} loans of {month}, {spark.table(table).count():,} loans in all",
    hint=[
        "Look at the history: the load of the failed month must not be a current ancestor.",
        f"Usually the rollback was not called: `spark.sql('SELECT * FROM {table}.history').show()` in a cell.",
        "Run the cells that begin `spark = spark_session` and `ids = spark` again, then this one.",
    ],
)

# %% [markdown]
# A rollback restores the rows. It does **not** restore the schema. You test this with a copy: add a
# column, roll back, and read the same snapshot in two ways.

# %%
spark.sql("DROP TABLE IF EXISTS ice.mlops.copy PURGE")
spark.sql(f"CREATE TABLE ice.mlops.copy USING iceberg AS SELECT * FROM {table} LIMIT 10")
first = spark.sql("SELECT snapshot_id FROM ice.mlops.copy.snapshots").first()[0]
spark.sql("ALTER TABLE ice.mlops.copy ADD COLUMN note string")
spark.sql("INSERT INTO ice.mlops.copy SELECT *, 'late' FROM " + f"{table} LIMIT 5")
spark.sql(f"CALL ice.system.rollback_to_snapshot('mlops.copy', {first})")
main = spark.table("ice.mlops.copy")
at = spark.sql(f"SELECT * FROM ice.mlops.copy VERSION AS OF {first}")
show.table([["main after the rollback", main.count(), "note" in main.columns],
            ["read by snapshot id", at.count(), "note" in at.columns]], columns=["read", "rows", "has the new column"])

# %% [markdown]
# ## 2. Fit the baseline again
#
# Before you change the program, check that the training is reproducible: the same program on the tagged
# rows must give bit-identical weights. Otherwise you cannot tell whether a difference comes from your
# change or from the data.

# %% tags=["blank"]
saved = PipelineModel.load(str(home / "baseline"))
numbers = saved.stages[0].getInputCols()
# blank: Let `tagged` be the table at the tag `trained_v1`; use SQL with VERSION AS OF.
# stub: tagged = spark.table(table)
# solution
tagged = spark.sql(f"SELECT * FROM {table} VERSION AS OF 'trained_v1'")
# end of solution
spark.catalog.clearCache()  # Spark's cache does not distinguish the snapshots of a table
labelled = tagged.withColumn("bad", (F.col("loan_status") == "Charged Off").cast("double"))
is_held = F.abs(F.hash("loan_id")) % 10 >= 7
train, held = labelled.where(~is_held).cache(), labelled.where(is_held).cache()
stages = [VectorAssembler(inputCols=numbers, outputCol="raw", handleInvalid="error"),
          StandardScaler(inputCol="raw", outputCol="features", withMean=True),
          LogisticRegression(labelCol="bad", maxIter=50)]
again = Pipeline(stages=stages).fit(train)
print(again.stages[2].coefficients)

# %%
def weights_of(model: PipelineModel) -> list[float]:
    return [*model.stages[2].coefficients.tolist(), model.stages[2].intercept]


check(
    "The refit on the tagged rows has the weights of the baseline, bit by bit",
    lambda: weights_of(again) == weights_of(PipelineModel.load(str(home / "baseline"))),
    saw=lambda: f"{sum(a != b for a, b in zip(weights_of(again), weights_of(saved), strict=True))} of "
    f"{len(weights_of(saved))} weights differ",
    hint=[
        "Look at the weights: they must be those of lab mlops-01.",
        "Usually the rows are those of `main`, which has more: `tagged.count()` in a cell shows how many.",
        "Run the cell that begins `saved = Pipeline` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Measure three policies
#
# The tagged rows contain the three texts. A **StringIndexer** maps each text to a number, a **one-hot
# encoder** maps the number to columns of 0 and 1. The new month has a value of `home_ownership` that no
# tagged row has: `ANY`. Spark has three policies for such unseen values.

# %%
batch, _ = data.make_batch("texts", month, batch_rows, seed)
texts = ["term", "home_ownership", "purpose"]
arrived = spark.createDataFrame(batch).withColumn("bad", (F.col("loan_status") == "Charged Off").cast("double"))


def fitted(policy: str) -> PipelineModel:
    indexed, encoded = [f"{name}_i" for name in texts], [f"{name}_v" for name in texts]
    return Pipeline(stages=[
        *stages[:1], StandardScaler(inputCol="raw", outputCol="scaled", withMean=True),
        StringIndexer(inputCols=texts, outputCols=indexed, handleInvalid=policy),
        OneHotEncoder(inputCols=indexed, outputCols=encoded),
        VectorAssembler(inputCols=["scaled", *encoded], outputCol="features"),
        LogisticRegression(labelCol="bad", maxIter=50),
    ]).fit(train)

# %% tags=["blank"]
strict, keeping = fitted("error"), fitted("keep")


def measured(policy: str) -> int:
    model = keeping if policy == "keep" else strict
    model.stages[2].setHandleInvalid(policy)
    return len(model.transform(arrived).select("prediction").collect())


evaluator = BinaryClassificationEvaluator(labelCol="bad")
# blank: Let `skipped` and `kept` be the results of `measured` for the policies skip and keep.
# stub: skipped = kept = 0
# solution
skipped, kept = measured("skip"), measured("keep")
# end of solution
gain = {"five numbers": evaluator.evaluate(saved.transform(held)), "with the texts": evaluator.evaluate(
    keeping.transform(held))}
show.bars(pd.DataFrame(gain.items(), columns=["model", "AUC"]), "model", "AUC", "The three texts raise the AUC")

# %% [markdown]
# The third policy, `error`, stops at the first unseen value. Its message names the value, but not the
# column.

# %%
def stops() -> str:
    from pyspark.errors import PySparkException
    from py4j.protocol import Py4JJavaError
    try:
        return f"{measured('error')} loans"
    except (PySparkException, Py4JJavaError) as error:
        return re.search(r"Unseen label: \w+|$", str(error))[0]


weights = keeping.stages[-1].coefficients.tolist()  # what the job must learn from the tagged rows
policies = [["error", 0, stops()], ["skip", skipped, "succeeds"], ["keep", kept, "succeeds"]]
show.table(policies, columns=["policy", "loans with a score", "result"])

# %%
def unseen() -> int:
    known = {row[0] for row in tagged.select("home_ownership").distinct().collect()}
    return int((~batch["home_ownership"].isin(known)).sum())


check(
    "`skip` loses the loans with an unseen value, `keep` scores all loans",
    lambda: kept == measured("keep") == len(batch) and len(batch) - skipped == unseen() > 0,
    saw=lambda: f"{unseen()} unseen; skip scores {skipped:,}, keep {kept:,} of {len(batch):,}",
    hint=[
        "Look at the table: `keep` must have as many loans as the month.",
        "Usually the two numbers are swapped: `measured('skip')` in a cell shows what that policy does.",
        "Run the cells that begin `batch, _ = data` and `strict, keeping` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Change the program, not the pipeline
#
# The DAG and the parameters of its run do not change. You replace the middle part of `train.py`: it
# indexes texts with `keep`, and exports the weight of each value to the JSON file. The endpoint's program
# already supports texts.

# %%
middle = '''
from pyspark.ml.feature import OneHotEncoder, StringIndexer
types = dict(loans.dtypes)
texts = [name for name in handed["columns"] if types[name] == "string"]
numbers = [name for name in handed["columns"] if name not in texts]
indexed, encoded = [f"{name}_i" for name in texts], [f"{name}_v" for name in texts]
stages = [VectorAssembler(inputCols=numbers, outputCol="raw", handleInvalid="error"),
          StandardScaler(inputCol="raw", outputCol="scaled", withMean=True)]
if texts:
    stages += [StringIndexer(inputCols=texts, outputCols=indexed, handleInvalid="keep"),
               OneHotEncoder(inputCols=indexed, outputCols=encoded)]
stages += [VectorAssembler(inputCols=["scaled", *encoded], outputCol="features"),
           LogisticRegression(labelCol="bad", maxIter=50)]
model = Pipeline(stages=stages).fit(train)
'''

# %%
export = '''
scale, line = model.stages[1], model.stages[-1]
weights, at = line.coefficients.tolist(), len(numbers)
made = {"numbers": numbers, "mean": scale.mean.tolist(), "std": scale.std.tolist(),
        "weights": weights[:at], "bias": line.intercept, "texts": {}}
for name, labels in zip(texts, model.stages[2].labelsArray if texts else []):
    made["texts"][name] = dict(zip(labels, weights[at : at + len(labels)]))
    at += len(labels)
'''

# %% tags=["blank"]
program = call(http, "GET", f"{workbench}/api/v2{files}/train.py").text
head, tail = program.partition("# fit\n")[0], program.partition("# keep\n")[2]
# blank: Let `repaired` be head, "# fit\n", middle, export, "# keep\n" and tail, in this order.
# stub: repaired = program
# solution
repaired = head + "# fit\n" + middle + export + "# keep\n" + tail
# end of solution
uploaded = bench("PUT", f"{files}/train.py", data=repaired.encode())

# %%
def there() -> str:
    return call(http, "GET", f"{workbench}/api/v2{files}/train.py").text


check(
    "The job's program indexes texts and keeps unseen values",
    lambda: 'handleInvalid="keep"' in there() and "labelsArray" in there() and there().count("# fit\n") == 1,
    saw=lambda: f"{len(there().splitlines())} lines",
    hint=[
        "Look at the program: the part between `# fit` and `# keep` must be the new one.",
        "Usually `train.py` has no such comments, because somebody replaced it: `print(there())` in a cell.",
        "Run the cells that begin `middle =`, `export =` and `program = call` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Run the same DAG again
#
# Same DAG, same parameter. You stop the notebook's Spark driver first: the jobs need its memory.

# %%
spark.stop()
conf = {"batch": f"{month}.csv"}
run = air("POST", "dags/loans/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"]


def newest() -> dict:
    return air("GET", "dags/loans/dagRuns?order_by=-run_after&limit=1")["dag_runs"][0]


wait("the DAG run", lambda: newest()["state"], until=lambda seen: seen in ("success", "failed"), deadline=1200,
     every=1, ignoring=(OSError,))
listed = air("GET", f"dags/loans/dagRuns/{run}/taskInstances?order_by=start_date")["task_instances"]
show.table([[one["task_id"], one["state"], one["duration"]] for one in listed], columns=["task", "state", "seconds"])

# %% [markdown]
# A green run is not enough. You check that the DAG has all its tasks, and count the rows in the table, the
# loans scored and the loans refused. These numbers come from Iceberg's metadata, the facts of the jobs, and
# the file of scores. The weights of the model must be those of your own fit on the tagged rows.

# %%
metadata = place.project_repo / "warehouse" / place.user / "ice" / "mlops" / "loans" / "metadata"


def grown() -> int:
    number = (metadata / "version-hint.text").read_text().strip()
    found = json.loads((metadata / f"v{number}.metadata.json").read_text())
    rows = {one["snapshot-id"]: one for one in found["snapshots"]}
    main = rows[found["refs"]["main"]["snapshot-id"]]
    while "added-records" not in main["summary"]:  # a load of a month that was there already
        main = rows[main["parent-snapshot-id"]]
    return int(main["summary"]["total-records"]) - int(rows[main["parent-snapshot-id"]]["summary"]["total-records"])


# %%
CHAIN = ["start", "load", "train_chain", "report", "end"]


def is_whole() -> bool:
    after = {one["task_id"]: one["downstream_task_ids"] for one in air("GET", "dags/loans/tasks")["tasks"]}
    return after == {name: CHAIN[at : at + 1] for at, name in enumerate(CHAIN, 1)}


# %%
def facts() -> dict:
    path = f"dags/loans/dagRuns/{newest()['dag_run_id']}/taskInstances/train_chain/xcomEntries/return_value"
    return air("GET", f"{path}?deserialize=true")["value"]


def apart() -> float:
    made = bench("GET", f"{files}/model.json")
    found = [*made["weights"], *(w for column in made["texts"].values() for w in column.values())]
    differs = len(found) != len(weights)  # a model without the texts has fewer weights
    return math.inf if differs else max(abs(a - b) for a, b in zip(found, weights, strict=True))


def written() -> int:
    return len(call(http, "GET", f"{workbench}/api/v2{files}/scored.csv").text.splitlines()) - 1


print("rows in:", facts()["rows_in"], "| scored:", facts()["rows_scored"], "| refused:", facts()["rows_refused"])

# %%
check(
    "The same DAG succeeded, the month is in the table once, and no loan is missing",
    lambda: is_whole() and newest()["state"] == "success" and newest()["conf"] == conf and grown() == len(batch)
    and facts()["rows_in"] == facts()["rows_scored"] + facts()["rows_refused"] == len(batch)
    and written() == facts()["rows_scored"] and apart() < 1e-6,
    saw=lambda: f"{newest()['state']}; table + {grown():,}; {written():,} scores; weights {apart():.0e} apart; "
    f"{'the whole' if is_whole() else 'a changed'} DAG",
    hint=[
        "Look at the states of the tasks: which is the first that did not succeed?",
        "Usually the job `train` runs the old program, which `print(there())` in a cell shows, or the file "
        f"of the DAG was changed: `cat {place.project_repo}/airflow/{flow}/dags/loans.py` in a terminal.",
        "Run the cells that begin `program = call` and `spark.stop()` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Check the endpoint
#
# The load ran during the repair. The customers still send five numbers and no texts; version 2 accepts
# that. You send calls until there are `calls` in all, and read the workbench's counters.

# %%
customers.stop()
pace = 0.0
Crowd(ask, callers=2).send(max(20, calls - counted("calls")))
share = pd.Series(versions).value_counts().sort_index()
show.bars(pd.DataFrame({"version": [f"version {v}" for v in share.index], "answers": share.to_numpy()}),
          "version", "answers", "Each call was answered by version 1 or 2")

# %%
def serving() -> dict:
    return bench("GET", f"{files}/deployed.json")


check(
    "Version 2 is deployed, no call failed, and version 1 never answered after version 2",
    lambda: counted("calls_failed") == 0 and counted("calls") >= calls and serving()["version"] == 2
    and versions == sorted(versions),
    saw=lambda: f"{counted('calls'):,} calls, {counted('calls_failed')} failed, version {serving()['version']}",
    hint=[
        "Look at the three numbers: calls, failed calls, version.",
        "Usually the DAG run did not push a new model: `serving()` in a cell shows the version.",
        "Run the cells that begin `spark.stop()` and `customers.stop()` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Cannot roll back to snapshot, not an ancestor of the current state`**: `main` is already at an
#   older snapshot. The history shows which one.
# - **`load` succeeds and the table did not grow**: the month is still in it, so `MERGE` inserted nothing.
#   Run the cell that begins `ids = spark`.
# - **Java stops with `OutOfMemoryError`**: two Spark drivers run. Shut down the notebook of lab mlops-05.

# %% [markdown]
# ## Exercise
#
# Which value of the three text columns has the largest weight in the new model? Read the weights from
# the deployed file, and store the value in `riskiest`.
#
# Hint: `model.json` of the project has `texts`: for each column the weight of each value.

# %% tags=["exercise"]
# stub: riskiest = None
# solution
learned = bench("GET", f"{files}/model.json")["texts"]
riskiest = max(((value, w) for column in learned.values() for value, w in column.items()), key=lambda one: one[1])[0]
# end of solution
print(riskiest)

# %% [markdown]
# ## Recap
#
# - The **rollback** restored the rows and not the schema.
# - The **refit** on the tag had the weights of the baseline, bit by bit.
# - Of three **policies** only `keep` scored every loan.
# - **Version 2** is deployed, the same DAG succeeded, and no call failed.
#
# More: [rollback and other procedures of Iceberg](https://iceberg.apache.org/docs/latest/spark-procedures/),
# [handling of invalid values in Spark ML](https://spark.apache.org/docs/4.0.0/ml-features.html).
#
# Next: audit each month before it reaches the table.

# %%
quiz(
    "What does a rollback of an Iceberg table not restore?",
    ["The rows", "The schema", "The files"],
    right=1,
    because="A column that was added later stays; a read by snapshot id shows the old schema.",
)
quiz(
    "Why fit the baseline again before you change it?",
    ["To warm up Spark", "To use the newest rows", "To know that a difference comes from your change"],
    right=2,
    because="If the same rows and program give another model, you cannot compare models.",
)
quiz(
    "Which count shows that `skip` lost loans?",
    ["Rows in against rows scored and refused", "The AUC", "The number of runs"],
    right=0,
    because="The job succeeds and the AUC is good; only the row counts differ.",
)

# %% [markdown]
# ## Clean up
#
# The table, its tag, the DAG and version 2 stay.

# %%
if finished:
    customers.stop()
print("kept:", table, "| version", serving()["version"], "|", counted("calls"), "calls counted")
