# %% [markdown]
# # Lab mlflow-01: Track
#
# Record each training with its settings, metrics, files and the version of its data, so that anybody can repeat it.

# %% [markdown]
# ## What you will build
#
# - A **tracking server** of your own on the platform, behind a token and TLS.
# - Three **runs** of a model, each with its settings, its learning curve, a file and its data by version.
# - A run that is missing on the server: why that happens, and how you find it.
# - An old `mlruns` folder, read line by line and **migrated**, its model still loadable.
#
# ![Your notebook logs runs over TLS to the tracking server; numbers go into its database, files into
# the project repository, and each run names the version of its data.](../../Pictures/mlflow-01-track.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-01 | A kubeconfig that opens your tenant | `kubectl get pod` |
# | The `mlflow` app | It runs the tracking server | `kubectl get kdapp mlflow` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
experiment: str = "wine"  # the name that groups your runs
table_version: int = 0  # version of the Delta table to train on
alphas: list = [0.01, 0.5, 2.0]  # strength of the regularization, one run for each
l1_ratio: float = 0.1  # share of the L1 penalty, which sets weights to zero
seed: int = 7  # the same split at every run
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup
#
# The variables that begin with `MLFLOW_` configure the client. The first one switches its telemetry
# off; the others, and its log level, keep the output of the cells short.

# %%
import logging
import os
import sqlite3
import subprocess
import sys

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
               "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
import mlflow
import numpy as np
import pandas as pd
import requests
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labhelpers import begin, check, data, fresh, quiz, settings, show, spark_session, workspace
from labhelpers.cluster import apply, caller, connect, labels, remove, wait_configured

# %%
begin("mlflow/01")
logging.getLogger("mlflow").setLevel(logging.ERROR)
place, k8s = settings(), connect()
spark = spark_session("mlflow-01")
home, server = workspace("mlflow-01"), f"mlflow-{place.user}"

# %% [markdown]
# ## 1. Order a tracking server
#
# A **tracking server** keeps what trainings report: numbers in a database, files in the project
# repository. You order it by name, like every application of the catalogue. `storage` asks for a
# volume: without one the database would be lost with its container.

# %%
size = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
role = {"id": "controller", "members": 1, "storage": {"size": "1Gi"}, "resources": size}
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": server, "labels": labels("mlflow/01")},
    "spec": {"app": "mlflow", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": [role],
             "connections": {"secrets": ["hpecp-ext-auth-secret"]}},
}
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, server)

# %% [markdown]
# The client reads three variables: the server's address, its token, and the certificate authority
# that its certificate is checked with. In a notebook or a training engine that is **connected** to
# this kdcluster the platform sets the address and the token for you.

# %%
http, address = caller(k8s, server, "controller", 5000)
os.environ |= {"MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_TOKEN": http.headers["X-Auth-Token"],
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
mlflow.set_tracking_uri(address)


def ask(path: str, body: dict | None = None) -> dict:
    url = f"{address}/api/2.0/mlflow/{path}"
    answer = http.post(url, json=body, timeout=30) if body else http.get(url, timeout=30)
    answer.raise_for_status()
    return answer.json()


print(address, http.get(f"{address}/version", timeout=30).text)

# %% [markdown]
# `ask` calls the server's REST API without the client. The checkpoints of this lab use it: a
# variable in your notebook says what you meant to log, the server says what arrived.

# %%
def versions() -> tuple[str, int]:
    anonymous = requests.get(f"{address}/version", verify=str(place.ca), timeout=30)
    return http.get(f"{address}/version", timeout=30).text, anonymous.status_code


check(
    "Your server has the client's release, and answers nobody without the token",
    lambda: versions() == (mlflow.__version__, 401),
    saw=lambda: f"MLflow {versions()[0]}; without a token HTTP {versions()[1]}",
    hint=[
        f"Look at the kdcluster {server}: is it configured?",
        "Usually the server is still starting, or was deleted: "
        f"`kubectl get kdcluster {server}` in a terminal says what it waits for.",
        "Run the cells that begin `size = {` and `http, address` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Give the data a version
#
# A run that does not name its data cannot be repeated. You put the wines into a Delta table in two
# deliveries: version 0 holds the first 1,200 wines, version 1 all of them. MLflow knows such tables
# as a **dataset** with a source.

# %%
wines = pd.read_csv(data.datasets() / "wine" / "wine.csv", sep=";").astype(float)
wines.columns = [name.replace(" ", "_") for name in wines.columns]  # Delta takes no blanks
table = str(fresh(home / "wine"))
for delivery in (wines[:1200], wines[1200:]):
    spark.createDataFrame(delivery).coalesce(1).write.format("delta").mode("append").save(table)

# %%
def remembered(version: int) -> object:
    source = DeltaDatasetSource(path=table, delta_table_version=version)
    return source.to_dict().get("delta_table_version", "nothing")


show.table([[version, remembered(version)] for version in (0, 1)],
           columns=["version of the table", "version that MLflow records"])

# %% [markdown]
# Version 0 is lost. The client's code tests `if version:`, and zero is false in Python. No error is
# raised; the run names no version. So you record the version yourself, as a **tag** of the run.

# %%
def rows_of(version: int) -> int:
    return spark.read.format("delta").option("versionAsOf", version).load(table).count()


check(
    "Both versions can be read, and MLflow's own note loses the first one",
    lambda: (rows_of(0), rows_of(1)) == (1200, len(wines)) and remembered(0) == "nothing",
    saw=lambda: f"{rows_of(0):,} and {rows_of(1):,} wines; of version 0 MLflow keeps {remembered(0)}",
    hint=[
        "Look at the folder of the table: one file in its log for each delivery.",
        "Usually the table was written twice into the same folder: "
        f"`ls {table}/_delta_log` in a terminal lists its versions.",
        "Run the cell that begins `wines = pd.read_csv` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Log three runs
#
# A **run** is one training. It has **parameters** (what you chose), **metrics** (what you measured),
# **artefacts** (files) and **inputs** (its data). A metric may have **steps**: here a step is the
# number of wines that the model has learned from, so the metric becomes a learning curve.

# %%
dataset = mlflow.data.load_delta(path=table, version=table_version, targets="quality", name="wine")
frame = dataset.df.toPandas()
train, test = train_test_split(frame, test_size=0.25, random_state=seed)
names = frame.columns.drop("quality")


def rmse(model, rows: pd.DataFrame) -> float:
    return float(np.sqrt(np.mean((model.predict(rows[names]) - rows["quality"]) ** 2)))


# %%
def learn(alpha: float):
    with mlflow.start_run(run_name=f"alpha {alpha:g}"):
        mlflow.log_params({"alpha": alpha, "l1_ratio": l1_ratio, "seed": seed})
        mlflow.log_input(dataset, context="training")
        mlflow.set_tag("delta.version", table_version)
        for count in range(100, len(train) + 1, 100):
            some = train[:count]
            linear = ElasticNet(alpha=alpha, l1_ratio=l1_ratio)
            model = make_pipeline(StandardScaler(), linear).fit(some[names], some["quality"])
            mlflow.log_metric("rmse", rmse(model, test), step=count)
        weights = zip(names, linear.coef_.round(4).tolist(), strict=True)
        mlflow.log_dict(dict(weights), "weights.json")


mlflow.set_experiment(experiment)
for alpha in alphas:
    learn(alpha)

# %% [markdown]
# Ask the server what it has. Each run has a unique id, a status and two times; parameters, metrics,
# tags and files belong to it.

# %%
def logged() -> list[dict]:
    found = ask(f"experiments/get-by-name?experiment_name={experiment}")["experiment"]
    body = {"experiment_ids": [found["experiment_id"]], "max_results": len(alphas),
            "order_by": ["attributes.start_time DESC"]}
    return ask("runs/search", body)["runs"]


def steps_of(run: dict) -> list[dict]:
    query = f"run_id={run['info']['run_id']}&metric_key=rmse"
    return ask(f"metrics/get-history?{query}")["metrics"]


def has_all(run: dict) -> bool:
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    files = ask(f"artifacts/list?run_id={run['info']['run_id']}").get("files", [])
    return (tags.get("delta.version") == str(table_version) and len(steps_of(run)) > 1
            and [file["path"] for file in files] == ["weights.json"]
            and run["inputs"]["dataset_inputs"][0]["dataset"]["name"] == "wine")


# %%
check(
    "The server has your runs with settings, curve, file and the version of the data",
    lambda: all(has_all(run) for run in logged())
    and {float(one["value"]) for run in logged() for one in run["data"]["params"] if one["key"] == "alpha"}
    == set(alphas),
    saw=lambda: ", ".join(f"{run['info']['run_name']}: {len(steps_of(run))} steps" for run in logged()),
    hint=[
        "Look at the runs that were found: one for each of your alphas, each with several steps.",
        "Usually a run broke off in the middle, or the runs went to another experiment: "
        "`mlflow.search_experiments()` in a cell lists those of this server.",
        "Run the cells that begin `dataset = mlflow` and `def learn(` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Compare the runs
#
# To choose a run, compare them. You read the learning curves back from the server. Its own page does
# the same, and so does a colleague who has only the address and a token.

# %%
curves = pd.DataFrame({
    run["info"]["run_name"]: {int(one["step"]): one["value"] for one in steps_of(run)} for run in logged()
}).sort_index().rename_axis("wines learned from").reset_index()
show.lines(curves, "wines learned from", list(curves.columns[1:]),
           "A strong alpha learns nothing from more wines", unit="rmse, in points of quality")

# %%
best = mlflow.search_runs(experiment_names=[experiment], order_by=["metrics.rmse ASC"], max_results=3)
show.table(best[["tags.mlflow.runName", "params.alpha", "metrics.rmse", "tags.delta.version"]].round(3))

# %% [markdown]
# A strong `alpha` pulls all weights towards zero: the model then predicts nearly the same grade for
# every wine. The metric that the table shows is the **last** one logged, not the smallest. If a curve turned
# upwards at its end, the two would differ, and a search by metric would prefer the wrong run.

# %%
def last_value(run: dict) -> float:
    return next(one["value"] for one in run["data"]["metrics"] if one["key"] == "rmse")


check(
    "The best run beats predicting the mean grade for every wine",
    lambda: min(last_value(run) for run in logged()) < 0.95 * float(test["quality"].std())
    and all(last_value(run) == steps_of(run)[-1]["value"] for run in logged()),
    saw=lambda: f"rmse {min(last_value(run) for run in logged()):.3f}; "
    f"of the mean grade {test['quality'].std():.3f}",
    hint=[
        "Look at the two numbers: the best run must be clearly below the mean grade's.",
        "Usually all alphas are too strong, or the columns are mixed up: "
        "`train.corr()['quality']` in a cell must show `alcohol` far from zero.",
        "Type `alphas = [0.01, 0.5, 2.0]` in a cell and run the cell that begins `def learn(` again.",
    ],
)

# %% [markdown]
# ## 5. Lose a run, and find it
#
# "No runs in the UI" is one of MLflow's most frequent issues. Usually the run was logged, but to
# another store: without `MLFLOW_TRACKING_URI` the client creates a database in the program's own
# folder, prints no warning, and succeeds. Start such a program.

# %%
program = f"""
import mlflow
mlflow.set_experiment({experiment!r})
with mlflow.start_run(run_name="lost"):
    mlflow.log_metric("rmse", 1.0)
"""
elsewhere = fresh(home / "elsewhere")
elsewhere.mkdir()
unaware = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_TRACKING")}


def start(environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", program], cwd=elsewhere, env=environment, check=True,
                   capture_output=True)


def named_lost() -> int:
    found = ask(f"experiments/get-by-name?experiment_name={experiment}")["experiment"]
    body = {"experiment_ids": [found["experiment_id"]], "filter": "attributes.run_name = 'lost'"}
    return len(ask("runs/search", body).get("runs", []))


# %%
before = named_lost()
start(unaware)
print(f"The server got {named_lost() - before} runs; the folder has", sorted(
    file.name for file in elsewhere.iterdir()))

# %%
with sqlite3.connect(elsewhere / "mlflow.db") as database:
    found = database.execute("SELECT name, status FROM runs").fetchall()
database.close()
start(dict(os.environ))
print("In the file mlflow.db:", found)

# %% [markdown]
# The run is in that file. When a run is missing, check two things: the tracking URI that the program
# logged to (print it), and the experiment. The cure is the variable in the program's environment; the
# second start had it.

# %%
check(
    "The lost run lies in a file of its own, and the next one arrived on the server",
    lambda: (elsewhere / "mlflow.db").is_file() and named_lost() > 0,
    saw=lambda: f"{named_lost()} run named `lost` on the server",
    hint=[
        "Look at the folder `elsewhere`: the database that the program created must be in it.",
        "Usually the second start did not have the variable either: "
        "`os.environ['MLFLOW_TRACKING_URI']` in a cell must show the server's address.",
        "Run the cells that begin `http, address`, `program = f`, `before = named_lost` and `with sqlite3`.",
    ],
)

# %% [markdown]
# ## 6. Read an old tree, and migrate it
#
# Until 2025 runs were kept as **files**: a folder `mlruns`, one file for each parameter and metric.
# Old projects have such trees. The present release refuses them until you opt in, because files
# cannot be searched or changed by two programs at once.

# %%
tree = fresh(home / "old") / os.urandom(4).hex() / "mlruns"  # a new path: the client caches stores by path
tree.mkdir(parents=True)
os.environ.pop("MLFLOW_ALLOW_FILE_STORE", None)
try:
    mlflow.MlflowClient(tracking_uri=tree.as_uri()).search_experiments()
except mlflow.MlflowException as refused:
    print(str(refused).split(" Please")[0])

# %%
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
model = make_pipeline(StandardScaler(), ElasticNet(alpha=0.1)).fit(train[names], train["quality"])
try:
    mlflow.set_tracking_uri(tree.as_uri())
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name="old") as old:
        mlflow.log_param("alpha", 0.1)
        mlflow.log_metric("rmse", rmse(model, test), step=1)
        mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"])
finally:
    mlflow.set_tracking_uri(address)
    del os.environ["MLFLOW_ALLOW_FILE_STORE"]
show.files(tree, rows=20)

# %% [markdown]
# Read it line by line. `meta.yaml` says what a folder is; each file in `params` holds one value; a
# line in `metrics/rmse` is time, value and step. The model has a folder of its own, `models/m-…`,
# since release 3: a run points at it instead of containing it. `mlflow migrate-filestore` reads all
# that into a database and leaves the files where they are.

# %%
metric = tree / old.info.experiment_id / old.info.run_id / "metrics" / "rmse"
print("time, value, step:", metric.read_text().strip())
store = f"sqlite:///{tree.parent}/{old.info.run_id}.db"
command = [sys.executable, "-m", "mlflow", "migrate-filestore", "--source", tree.parent, "--target", store]
moved = subprocess.run(command, capture_output=True, text=True)
print(moved.stdout)

# %%
def migrated() -> tuple[str, float]:
    client = mlflow.MlflowClient(tracking_uri=store)
    run = client.get_run(old.info.run_id)
    (kept,) = client.search_logged_models([run.info.experiment_id])
    loaded = mlflow.sklearn.load_model(kept.artifact_location)
    apart = np.abs(loaded.predict(test[names]) - model.predict(test[names])).max()
    return run.info.run_name, float(apart)


check(
    "The old run is in the database, and its model predicts what it did before",
    lambda: migrated() == ("old", 0.0),
    saw=lambda: "run `{}`; predictions differ by at most {:g}".format(*migrated()),
    hint=[
        "Look at the last lines of the migration: how many runs and models did it move?",
        "Usually the target exists already from an earlier run, or the tree is empty: "
        f"`ls -R {home / 'old'}` in a terminal lists both.",
        "Run the cells that begin `tree = fresh(`, `os.environ[\"MLFLOW_ALLOW` and `metric = tree` again.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`RestException: UNAUTHENTICATED`**: the token is of another server, or the variable is not set.
#   Run the cell that begins `http, address` again.
# - **403, `This server is not called …`**: you reach the server by a name that it does not know. Use
#   the gateway's address, or inside the cluster the name of its service.
# - **`database is locked`**: two programs write the same SQLite file. Let them log to the server.

# %% [markdown]
# ## Exercise
#
# Which two weights matter most in your best run? Read them from the run's artefact, not from the
# notebook, and store their names in `strongest`.
#
# Hint: the server's path `/get-artifact` takes `run_id` and `path` as parameters, and `http.get` asks it.

# %% tags=["exercise"]
# stub: strongest = []
# solution
wanted = {"run_id": best.iloc[0]["run_id"], "path": "weights.json"}
weights = http.get(f"{address}/get-artifact", params=wanted, timeout=30).json()
strongest = sorted(weights, key=lambda name: -abs(weights[name]))[:2]
# end of solution
print(strongest)

# %% [markdown]
# ## Recap
#
# - Your **tracking server** runs on the platform and accepts requests with its token only.
# - Three **runs** name their settings, their curves, a file, and the version of their data.
# - You lost a run in **another store**, found it, and know the two things to check.
# - You read an old **tree of files**, and moved it into a database with its model.
#
# More: [MLflow Tracking](https://mlflow.org/docs/latest/ml/tracking/),
# [where a tracking server keeps its data](https://mlflow.org/docs/latest/self-hosting/architecture/backend-store/).
#
# Next: the same training becomes a project that others can run.

# %%
quiz(
    "A run was logged with `version=0` of a Delta table and names no version. Why?",
    ["The table was empty", "The client treats 0 as missing", "Version 0 cannot be read"],
    right=1,
    because="`if version:` is false for 0; record it in a tag of your own.",
)
quiz(
    "Your program ended well, and the server shows no run. Where do you look first?",
    ["At the address the program logged to", "In the server's log", "At the disk"],
    right=0,
    because="Without MLFLOW_TRACKING_URI a run goes into a file in the program's own folder.",
)
quiz(
    "Which value of a metric does a search compare?",
    ["The best one", "The mean of all steps", "The last one"],
    right=2,
    because="The last logged value counts; log the best one under a name of its own if you need it.",
)

# %% [markdown]
# ## Clean up
#
# The next labs log to this server, so it stays. To remove what carries this lab's label, type
# `finished = True` in a cell and run this one; running it twice is safe. Tables and trees stay in
# your folder of the project repository.

# %%
print(remove(k8s, "mlflow/01") if finished else f"Kept for the next labs: {server}, the tables and trees of {home.parent.name}.")
