# %% [markdown]
# # Lab logistics-08: Predict failures
#
# Train a model that predicts failures within the hour, and detect one whose good score comes from a leak.

# %% [markdown]
# ## What you will build
#
# - An **MLflow server**, connected to your workbench, and a table with a tagged version.
# - Three **runs**: a model that is too simple, an honest one, and one with a leak.
# - The **best honest run**, registered, built from its version, deployed and called.
# - The **lineage** of an answer, back to the snapshot of the table, checked link by link.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab logistics-00 | The workbench | `kubectl get kdcluster` |
# | The `mlflow` app | It stores runs and registered models | `kubectl get kdapp mlflow` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
devices: int = 20  # how many lorries
days: int = 3  # the last one is for the test, the others for training
trees: int = 100  # how many trees a model has
seed: int = 7  # the same seed makes the same rows
model_name: str = "fleet-failures"  # the name in the registry
finished: bool = False  # True: the clean-up removes the table

# %% [markdown]
# ## Setup

# %%
import json
import logging
import os

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
               "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "OMP_NUM_THREADS": "1"}
import mlflow
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from pyspark.sql.functions import partitioning
from sklearn.metrics import roc_auc_score

from labhelpers import begin, check, data, quiz, settings, show, spark_session, wait
from labhelpers.cluster import KUBEDIRECTOR, apply, caller, cluster_of, connect, labels, wait_configured

# %%
begin("logistics/08")
logging.getLogger("mlflow").setLevel(logging.ERROR)
place, k8s = settings(), connect()
bench, server = f"workbench-{place.user}", f"mlflow-{place.user}"
cluster_of("logistics/00", k8s, bench)
http, address = caller(k8s, bench, "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"


def ask(verb: str, path: str, body: dict | None = None, **more) -> dict:
    answer = http.request(verb, f"{address}/api/v2{path}", json=body, timeout=60, **more)
    answer.raise_for_status()
    return answer.json()


# %% [markdown]
# ## 1. Connect a tracking server
#
# **MLflow** stores runs and registered models. If you have a server from lab mlflow-01, the lab uses it;
# otherwise you order one. A **connection** in the spec of the workbench gives the workbench, and every pod
# that it starts, the address and the token of the server.

# %%
size = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
role = {"id": "controller", "members": 1, "storage": {"size": "1Gi"}, "resources": size}
spec = {"app": "mlflow", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": [role],
        "connections": {"secrets": ["hpecp-ext-auth-secret"]}}
where = {**KUBEDIRECTOR, "namespace": k8s.namespace, "plural": "kubedirectorclusters"}
there = [one["metadata"]["name"] for one in k8s.custom.list_namespaced_custom_object(**where)["items"]]
if server not in there:
    apply(k8s, "kubedirectorclusters", {"apiVersion": "kubedirector.hpe.com/v1beta1", "kind": "KubeDirectorCluster",
                                        "metadata": {"name": server, "labels": labels("logistics/08")}, "spec": spec})
patched = k8s.custom.patch_namespaced_custom_object(name=bench, body={"spec": {"connections": {"clusters": [server]}}}, **where)
both = [wait_configured(k8s, name) for name in (server, bench)]

# %%
tracking, tracking_address = caller(k8s, server, "controller", 5000)
os.environ |= {"MLFLOW_TRACKING_URI": tracking_address, "MLFLOW_TRACKING_TOKEN": tracking.headers["X-Auth-Token"],
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
mlflow.set_tracking_uri(tracking_address)
client = mlflow.MlflowClient()


def registry() -> int:
    return http.get(f"{address}/api/v2/registry/models", timeout=60).status_code


known = wait("the workbench to know MLflow", registry, until=lambda seen: seen == 200, deadline=120)

# %%
check(
    "MLflow answers you, and the workbench shows its registry",
    lambda: tracking.get(f"{tracking_address}/version", timeout=30).text == mlflow.__version__ and registry() == 200,
    saw=lambda: f"MLflow {mlflow.__version__}; the registry through the workbench: HTTP {registry()}",
    hint=[
        "Look at both kdclusters: are they configured?",
        f"Usually the connection is missing: `kubectl get kdcluster {bench} -o yaml` in a terminal shows it.",
        "Run the cells that begin `begin(\"logistics/08\")`, `size = {` and `tracking, tracking` again.",
    ],
)

# %% [markdown]
# ## 2. Split by time
#
# Each row is a minute of a lorry: four signals, and whether the lorry failed within the hour. The table
# gets the tag `failures-v1`, which a run can name as its training data. In production, a model predicts
# days that it has not seen. So the **last day** is the test set, and the days before are the training set.

# %% tags=["blank"]
table, SIGNALS = "ice.fleet.failures", [f"iot_signal_{number}" for number in (1, 2, 3, 4)]
spark = spark_session("logistics-08")
spark.sql("CREATE NAMESPACE IF NOT EXISTS ice.fleet")
made = pd.concat([data.fleet.failures_of(seed, range(devices), day) for day in range(days)])
spark.createDataFrame(made).writeTo(table).using("iceberg").partitionedBy(partitioning.days("event_ts")).createOrReplace()
snapshot = spark.sql(f"SELECT snapshot_id FROM {table}.snapshots ORDER BY committed_at DESC").first()[0]
spark.sql(f"ALTER TABLE {table} CREATE OR REPLACE TAG `failures-v1` AS OF VERSION {snapshot}")
rows = spark.sql(f"SELECT * FROM {table} VERSION AS OF 'failures-v1'").toPandas().sort_values(["event_ts", "id"])
last = rows["event_ts"].max().normalize()
# blank: Name `learn` the rows before the time `last`, and `judge` those from it on.
# stub: learn, judge = rows.iloc[::2], rows.iloc[1::2]
# solution
learn, judge = rows[rows["event_ts"] < last], rows[rows["event_ts"] >= last]
# end of solution
print(f"{len(learn):,} rows to train on, {len(judge):,} to test on; {judge['iot_failure'].mean():.1%} fail")

# %%
def tagged() -> int:
    return spark.sql(f"SELECT snapshot_id FROM {table}.refs WHERE name = 'failures-v1'").first()[0]


check(
    "The tag names the newest snapshot, and every row of the test set is later than the training set",
    lambda: tagged() == snapshot and learn["event_ts"].max() < judge["event_ts"].min()
    and len(judge) == devices * 1440 and len(learn) == (days - 1) * len(judge),
    saw=lambda: f"training until {learn['event_ts'].max()}, test from {judge['event_ts'].min()}",
    hint=[
        "Compare the two times: the second one is later.",
        "Usually rows were drawn at random, or every second one was taken: "
        "`learn['event_ts'].max(), judge['event_ts'].min()` in a cell shows both.",
        "Run the cell that begins `table, SIGNALS` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Train three models, one with a leak
#
# The first model has trees of depth 1, which cannot combine two signals. The second has trees of depth 4.
# The third one also gets `event_type`. That column looks useful, because devices that fail report "system
# malfunction". But they report it **after** the failure, so it is not known when the model is asked: it is
# a **leak**. Each run records the snapshot of its training data.

# %% tags=["blank"]
learn, judge = (part.assign(reported=(part["event_type"] == "system malfunction").astype(float)) for part in (learn, judge))
plans = {"one question": (SIGNALS, 1), "four questions": (SIGNALS, 4), "with event_type": ([*SIGNALS, "reported"], 4)}


def train(name: str, columns: list[str], depth: int) -> None:
    with mlflow.start_run(run_name=name, nested=True):
        # blank: Set the tags `table`, `tag` (failures-v1) and `snapshot` (as a text) of this run.
        # solution
        mlflow.set_tags({"table": table, "tag": "failures-v1", "snapshot": str(snapshot)})
        # end of solution
        mlflow.log_params({"depth": depth, "trees": trees, "columns": ",".join(columns)})
        how = {"objective": "binary:logistic", "max_depth": depth, "eta": 0.1, "seed": seed, "nthread": 1}
        model = xgboost.train(how, xgboost.DMatrix(learn[columns], learn["iot_failure"]), trees)
        chances = model.predict(xgboost.DMatrix(judge[columns]))
        mlflow.log_metric("auc", roc_auc_score(judge["iot_failure"], chances))
        mlflow.xgboost.log_model(model, name="model", pip_requirements=["xgboost-cpu"],
                                 signature=infer_signature(judge[columns], chances))


# %%
mlflow.set_experiment(model_name)
with mlflow.start_run(run_name=f"snapshot {snapshot}") as parent:
    for name, (columns, depth) in plans.items():
        train(name, columns, depth)


def runs(order: str = "attributes.start_time DESC", more: str = "") -> list:
    family = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'{more}"
    return client.search_runs([parent.info.experiment_id], family, order_by=[order])


found = [[run.info.run_name, run.data.metrics["auc"]] for run in runs("attributes.start_time ASC")]
show.bars(pd.DataFrame(found, columns=["run", "AUC"]), "run", "AUC", "The model with event_type has by far the best AUC")

# %% [markdown]
# These data come from a generator that knows the true probability of each failure. The AUC of those
# probabilities is the **ceiling**: no model that knows only the signals can rank rows better. A model far
# below it did not learn; a model clearly above it has a leak. The checkpoint loads each model from the
# server and compares it with the ceiling.

# %%
def verdict(run) -> str:
    model = mlflow.xgboost.load_model(f"runs:/{run.info.run_id}/model")
    auc = roc_auc_score(judge["iot_failure"], model.predict(xgboost.DMatrix(judge[model.feature_names])))
    above = auc - data.fleet.best_auc(judge)
    return "cheated" if above > 0.01 else "did not learn" if above < -0.015 else "honest"


def verdicts() -> dict[str, str]:
    return {run.info.run_name: verdict(run) for run in runs()}


# %%
check(
    "One model did not learn, one cheated, one is honest, and each run names its snapshot",
    lambda: list(verdicts().values()) == ["cheated", "honest", "did not learn"]
    and {run.data.tags.get("snapshot") for run in runs()} == {str(tagged())},
    saw=lambda: f"{verdicts()}; the best possible AUC is {data.fleet.best_auc(judge):.3f}",
    hint=[
        "Compare each AUC with the best possible one: 0.01 above it is too good, 0.015 below too weak.",
        "Usually the runs carry no tag, or the labels were mixed up: `runs()[0].data.tags` in a cell.",
        "Run the cells that begin `table, SIGNALS`, `learn, judge = ` and `mlflow.set_experiment` again.",
    ],
)

# %% [markdown]
# ## 4. Choose the best honest run
#
# The server lists runs from the newest to the oldest, so the last one of the list is the **oldest**. The
# highest AUC belongs to the model with the leak. State both conditions: only the four signals as columns,
# and the highest AUC of those.

# %% tags=["blank"]
honest = f" AND params.columns = '{','.join(SIGNALS)}'"
# blank: Name `best`: the first of `runs`, ordered by metrics.auc DESC, with `honest` as a further condition.
# stub: best = runs()[-1]
# solution
best = runs("metrics.auc DESC", honest)[0]
# end of solution
chosen = {"the last of the list": runs()[-1], "the highest AUC": runs("metrics.auc DESC")[0], "the best honest one": best}
show.table([[how, run.info.run_name, run.data.metrics["auc"]] for how, run in chosen.items()], columns=["choice", "run", "AUC"])

# %%
check(
    "The chosen run is the honest one",
    lambda: verdict(best) == "honest" and best.info.run_id in {run.info.run_id for run in runs()},
    saw=lambda: f"{best.info.run_name}: {verdict(best)}",
    hint=[
        "Look at the table: each way to choose gives another run.",
        "Usually the oldest run was taken: `[run.info.run_name for run in runs()]` in a cell shows the order.",
        "Run the cell that begins `honest = ` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Register, build, deploy, call
#
# The workbench registers the run's model under a name; if the name exists, it gets a new **version**. A
# build from a registered version needs no function of yours. Its endpoint accepts MLflow's request forms,
# such as `dataframe_split`: the names of the columns once, then the rows.

# %% tags=["blank"]
def one_of(kind: str, path: str, name: str, **more) -> dict:
    listed = ask("GET", path, params={"search_filter": json.dumps({"name": name})})[kind]
    return listed[0] if listed else ask("POST", path, {"name": name, **more})


def ended(path: str, *states: str) -> dict:
    return wait(f"{path.split('/')[-2]}", lambda: ask("GET", path), until=lambda seen: seen["status"] in states, deadline=600)


prd = f"/projects/{one_of('projects', '/projects', 'fleet-PRD', template='local')['id']}"
model = one_of("models", f"{prd}/models", model_name)
kept = ask("POST", "/registry/models", {"run_id": best.info.run_id, "model_path": "model", "model_name": model_name})
version = max(kept["model_versions"], key=lambda one: one["number"])
builds = f"{prd}/models/{model['id']}/builds"
# blank: Name `order`: the body of a build whose registered_model_version_id is that of `version`.
# stub: order = {"file_path": "predict.py", "function_name": "predict"}
# solution
order = {"registered_model_version_id": version["model_version_id"]}
# end of solution
build = ended(f"{builds}/{ask('POST', builds, order)['id']}", "built", "build failed")

# %%
path = f"{builds}/{build['id']}/deployments"
if build["status"] == "built":
    number = ask("POST", path, {"cpu": 1, "memory": 1, "replicas": 1})["id"]
    print(ended(f"{path}/{number}", "deployed", "failed")["status"])
question = {"dataframe_split": {"columns": SIGNALS, "data": [[35.5, 200.5, 30.5, 14.5], [41.0, 230.0, 34.0, 17.0]]}}


def answer() -> dict:
    body = {"accessKey": ask("GET", f"{prd}/models/{model['id']}")["access_key"], "request": question}
    found = http.post(f"{address}/model", json=body, timeout=60)
    found.raise_for_status()
    return found.json()["response"]


def apart() -> float:
    loaded = mlflow.pyfunc.load_model(f"models:/{model_name}/{version['number']}")
    mine = loaded.predict(pd.DataFrame(question["dataframe_split"]["data"], columns=SIGNALS))
    return float(abs(mine - answer()["prediction"]).max())


# %%
check(
    "The endpoint answers the two rows as the registered model does",
    lambda: apart() < 1e-6 and 0 < answer()["prediction"][0] < answer()["prediction"][1] < 1,
    saw=lambda: "probabilities of a failure: " + ", ".join(f"{one:.3f}" for one in answer()["prediction"]),
    hint=[
        "Look at the two probabilities: the second one is higher.",
        "Usually the build failed, and its log says why: `print(build['log'][-800:])` in a cell.",
        "Run the cells that begin `def one_of(` and `path = f` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Trace the lineage
#
# An answer names its deployment. The workbench knows the build and the registered version of a deployment,
# MLflow knows the run of a version, and the run names the snapshot. You also tag the version with its build
# and its deployment, so that the lineage can be followed from the version in both directions.

# %% tags=["blank"]
served = answer()["model_deployment_crn"]
for key, value in {"build": build["id"], "deployment": served}.items():
    # stub: continue
    # blank: Set the tag `key` of the version to `value`: client.set_model_version_tag with name, number, key and value.
    # solution
    client.set_model_version_tag(model_name, str(version["number"]), key, value)
    # end of solution

# %%
def lineage(crn: str) -> dict:
    deployed = [one | {"build": kept} for kept in ask("GET", builds, params={"page_size": 100})["model_builds"]
                for one in ask("GET", f"{builds}/{kept['id']}/deployments")["model_deployments"] if one["crn"] == crn]
    name, _, number = deployed[0]["build"]["registered_model_version_id"].rpartition(":")
    known = client.get_model_version(name, number)
    return {"deployment": crn, "build": deployed[0]["build"]["id"], "version": f"{name}:{number}",
            "run": known.run_id, "snapshot": client.get_run(known.run_id).data.tags["snapshot"],
            "noted": {key: known.tags.get(key) for key in ("build", "deployment")}}


show.table([[link, str(value)[-40:]] for link, value in lineage(served).items()], "From the answer to the snapshot", columns=["link", "value"])

# %%
check(
    "Deployment, build, version, run and snapshot are joined, in both directions",
    lambda: (way := lineage(answer()["model_deployment_crn"]))["run"] == best.info.run_id
    and way["snapshot"] == str(tagged()) and way["noted"] == {"build": way["build"], "deployment": way["deployment"]},
    saw=lambda: f"version {lineage(served)['version']} of run {lineage(served)['run'][:8]}, snapshot {lineage(served)['snapshot']}",
    hint=[
        "Look at the table: the last line holds the same build and deployment as the first two.",
        "Usually the tags were not set: "
        "`client.get_model_version(model_name, str(version['number'])).tags` in a cell shows them.",
        "Run the cells that begin `def one_of(`, `path = f` and `served = answer` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **501, `No MLflow is connected`**: the connection is not in the spec of the workbench, or not read yet.
# - **The pod ends with `OOMKilled`**: a replica with MLflow needs 1 GiB.
# - **The honest model "did not learn"**: `trees` is too small, or the columns are mixed up.

# %% [markdown]
# ## Exercise
#
# From which probability on would you send a lorry to inspection? A missed failure costs 40 times as much as
# a needless inspection. Find the probability, in steps of 0.01, with the lowest cost on the rows of `judge`,
# and store it in `threshold`.
#
# Hint: load the model with `mlflow.xgboost.load_model`, and count both types of errors for each step.

# %% tags=["exercise"]
# stub: threshold = 0.5
# solution
chances = mlflow.xgboost.load_model(f"runs:/{best.info.run_id}/model").predict(xgboost.DMatrix(judge[SIGNALS]))
fails = judge["iot_failure"].to_numpy() == 1
costs = {step / 100: 40 * (fails & (chances < step / 100)).sum() + (~fails & (chances >= step / 100)).sum() for step in range(1, 100)}
threshold = min(costs, key=costs.get)
# end of solution
print(f"inspect from a probability of {threshold:.2f} on")

# %% [markdown]
# ## Recap
#
# - **MLflow** is connected to the workbench; the table's version has the tag `failures-v1`.
# - The model with a **leak** had the best AUC, above the ceiling.
# - The best **honest run** was registered, built and deployed, and answers `dataframe_split`.
# - The **lineage** leads from an answer to a snapshot, and back.
#
# More on leaks: [scikit-learn on data leakage](https://scikit-learn.org/stable/common_pitfalls.html#data-leakage);
# the request forms: [MLflow's scoring server](https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/).
#
# Next: the data change, and a chain of jobs retrains the model.

# %%
quiz(
    "A new column lifts the AUC from 0.90 to 0.98. What do you ask first?",
    ["When is it written?", "How large is it?", "Is it a number?"],
    right=0,
    because="A column that is written after the event contains the answer; at the time of a real call it is empty.",
)
quiz(
    "Why test on the last day and not on random rows?",
    ["Random rows are slower", "In production the model predicts later days", "Days have equal sizes"],
    right=1,
    because="Random test rows lie minutes from training rows, so they are easier than a new day.",
)
quiz(
    "What identifies the training data of a deployed model?",
    ["Its name", "The date of its build", "The snapshot in the tags of its run"],
    right=2,
    because="A snapshot is one exact state of a table; names and dates do not identify rows.",
)

# %% [markdown]
# ## Clean up
#
# The next lab needs the table, the model and the server. To remove the table, type `finished = True` in a
# cell and run this one; running it twice is safe.

# %%
if finished:
    spark.sql(f"DROP TABLE IF EXISTS {table} PURGE")
print("Removed: the table" if finished else f"Kept: {table}, {server} and version {version['number']} of {model_name}")
