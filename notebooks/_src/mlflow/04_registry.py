# %% [markdown]
# # Lab mlflow-04: Registry and gate
#
# Check a model with a gate, promote it by moving one alias, and roll it back within a second.

# %% [markdown]
# ## What you will build
#
# - Three **versions** of one registered model, each with the digest of its files.
# - A **gate** that measures a version and refuses one that is worse than a limit.
# - An **engine** that serves the version that the alias `champion` names, and follows the alias during
#   1,000 requests, none of which fails.
# - A **rollback**, and the **history** of who moved the alias, when, and from where to where.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlflow-01 | Your tracking server, which is the registry, too | `kubectl get kdcluster` |
# | The `deployment-engine` app | It serves the models | `kubectl get kdapp deployment-engine` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
model_name: str = "wine"  # the name that the versions share
limit: float = 0.75  # the gate refuses a model with a larger error (rmse)
gain: float = 0.01  # a challenger must be better than the champion by this share
requests_sent: int = 1000  # while the alias moves
callers: int = 4  # how many send at the same time
seed: int = 7  # the same split at every run
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup

# %%
import logging
import os
import time

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
               "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
import mlflow
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import MetricThreshold, infer_signature
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# %%
from labhelpers import Crowd, begin, check, data, quiz, settings, show, wait
from labhelpers.cluster import (apply, apply_config_map, caller, cluster_of, connect, labels, remove,
                                served, wait_configured)

# %% [markdown]
# The client sends a user name with the token. The token grants access; the name is shown in the history
# of the alias, like the author of a git commit.

# %%
begin("mlflow/04")
logging.getLogger("mlflow").setLevel(logging.ERROR)
place, k8s = settings(), connect()
server = cluster_of("mlflow-01", k8s, f"mlflow-{place.user}")["metadata"]["name"]
tracking, tracking_address = caller(k8s, server, "controller", 5000)
os.environ |= {"MLFLOW_TRACKING_URI": tracking_address, "MLFLOW_TRACKING_USERNAME": place.user,
               "MLFLOW_TRACKING_PASSWORD": tracking.headers["X-Auth-Token"],
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
mlflow.set_tracking_uri(tracking_address)
client = mlflow.MlflowClient()


def ask(path: str, **query: str) -> dict:
    answer = tracking.get(f"{tracking_address}/{path}", params=query, timeout=30)
    answer.raise_for_status()
    return answer.json()


# %% [markdown]
# ## 1. Register three versions
#
# A **registered model** is a name with numbered **versions**. You train three models and register
# each: one that predicts the same grade for every wine, a linear one, and boosted trees. A version never
# changes; a better model is a new version.

# %%
wines = pd.read_csv(data.datasets() / "wine" / "wine.csv", sep=";").astype(float)
train, test = train_test_split(wines, test_size=0.25, random_state=seed)
names = wines.columns.drop("quality")
candidates = {
    "mean": DummyRegressor(),
    "linear": make_pipeline(StandardScaler(), ElasticNet(alpha=0.01)),
    "boosted": xgboost.XGBRegressor(n_estimators=120, max_depth=5, learning_rate=0.08, random_state=seed),
}


def register(kind: str) -> str:
    model = candidates[kind].fit(train[names], train["quality"])
    flavour = mlflow.xgboost if kind == "boosted" else mlflow.sklearn
    mlflow.set_experiment(f"{model_name} registry")
    with mlflow.start_run(run_name=kind):
        info = flavour.log_model(model, name="model", registered_model_name=model_name,
                                 signature=infer_signature(train[names], train["quality"]),
                                 pip_requirements=["scikit-learn", "xgboost-cpu"])
    return str(info.registered_model_version)


# %%
version = {kind: register(kind) for kind in candidates}


def kept(kind: str) -> dict:
    return ask("api/2.0/mlflow/model-versions/get", name=model_name, version=version[kind])["model_version"]


def digest(kind: str) -> str:
    return next((tag["value"] for tag in kept(kind).get("tags", []) if tag["key"] == "sha256"), "")


show.table([[kind, version[kind], kept(kind)["status"], digest(kind)[:16] + "…"] for kind in version],
           columns=["model", "version", "status", "sha256 of its files"])

# %% [markdown]
# The server computed the digest at registration, and lets nobody change it. Files in a repository can be
# replaced unnoticed. So a service that loads the model compares the digest, and refuses files that differ.

# %%
check(
    "Three versions are ready, each with the digest of its files",
    lambda: all(kept(kind)["status"] == "READY" and len(digest(kind)) == 64 for kind in candidates)
    and len({digest(kind) for kind in candidates}) == 3,
    saw=lambda: ", ".join(f"{kind}: version {version[kind]}" for kind in candidates),
    hint=[
        "Look at the table above: three versions, each ready, with three different digests.",
        "Usually a training broke off before its version was registered: "
        f"`client.search_model_versions(\"name='{model_name}'\")` in a cell lists those there are.",
        "Run the cells that begin `wines = pd.read_csv` and `version = {kind` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Evaluate, and let a rule decide
#
# A **gate** is the decision "good enough for production" as code: it evaluates a version on data that the
# model has not seen, and compares the metric with limits. One limit is fixed; the other says by how much a
# **challenger** must beat the present **champion**.

# %% tags=["blank"]
def measure(kind: str) -> mlflow.models.EvaluationResult:
    uri = f"models:/{model_name}/{version[kind]}"
    with mlflow.start_run(run_name=f"gate {kind}"):
        return mlflow.models.evaluate(uri, test, targets="quality", model_type="regressor",
                                      evaluator_config={"log_explainer": False})


def refusal(kind: str, champion: str = "") -> str:
    # blank: Refuse a root_mean_squared_error above `limit`; smaller is better.
    # stub: rule = MetricThreshold(threshold=99.0, greater_is_better=False)
    # solution
    rule = MetricThreshold(threshold=limit, greater_is_better=False,
                           min_relative_change=gain if champion else None)
    # end of solution
    try:
        mlflow.validate_evaluation_results(
            validation_thresholds={"root_mean_squared_error": rule}, candidate_result=measured[kind],
            baseline_result=measured[champion] if champion else None)
    except mlflow.exceptions.MlflowException as error:
        return str(error).strip().splitlines()[-1]
    return ""


# %%
measured = {kind: measure(kind) for kind in version}
show.table([[kind, round(measured[kind].metrics["root_mean_squared_error"], 3), refusal(kind) or "passes"]
            for kind in version], columns=["model", "rmse", "result of the gate"])

# %% [markdown]
# The message has the numbers, so a reader of a pipeline's log need not run the gate again. Each evaluation
# is also a run on the server; the checkpoint reads it there.

# %%
def on_server(kind: str) -> float:
    name = {"experiment_name": f"{model_name} registry"}
    found = ask("api/2.0/mlflow/experiments/get-by-name", **name)["experiment"]["experiment_id"]
    body = {"experiment_ids": [found], "filter": f"attributes.run_name = 'gate {kind}'"}
    runs = tracking.post(f"{tracking_address}/api/2.0/mlflow/runs/search", json=body, timeout=30).json()["runs"]
    return next(one["value"] for one in runs[0]["data"]["metrics"] if one["key"] == "root_mean_squared_error")


check(
    "The gate lets the linear and the boosted model pass, and refuses the mean grade",
    lambda: refusal("mean") != "" and refusal("linear") == refusal("boosted") == ""
    and on_server("boosted") < on_server("linear") <= limit < on_server("mean"),
    saw=lambda: ", ".join(f"{kind} {on_server(kind):.3f}" for kind in version) + f"; limit {limit}",
    hint=[
        f"Look at the three errors: only that of `mean` is above {limit}.",
        "Usually the rule has another limit, or treats a larger error as better: "
        "`measured['mean'].metrics` in a cell shows what was measured.",
        "Type `limit = 0.75`, run the cell that begins `def measure(` again, then the next one.",
    ],
)

# %% [markdown]
# ## 3. Order an engine that follows the alias
#
# An **alias** is a movable name for a version. The engine's ConfigMap names the alias, not a file:
# `models:/wine@champion`. The engine is connected to your tracking server and resolves the alias there. It
# loads ONNX, XGBoost's own format and skops. It refuses a pickle, because loading one runs its author's
# code.

# %%
engine, config = f"inference-mlflow-{place.user}", f"{model_name}-champion"
client.set_registered_model_alias(model_name, "champion", version["linear"])
marks = labels("mlflow/04") | {"kubedirector.hpe.com/cmType": "model"}
apply_config_map(k8s, config, {"model-uri": f"models:/{model_name}@champion",
                               "description": "the version that the alias champion names"}, marks)


def role(name: str, **size: str) -> dict:
    resources = {"requests": size, "limits": size}
    return {"id": name, "members": 1, "serviceAccountName": "ecp-tenant-member-sa", "resources": resources}


# %%
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": engine, "labels": labels("mlflow/04")},
    "spec": {"app": "deployment-engine", "appCatalog": "local", "namingScheme": "CrNameRole",
             "connections": {"clusters": [server], "configmaps": [config],
                             "secrets": ["hpecp-ext-auth-secret"]},
             "roles": [role("LoadBalancer", cpu="100m", memory="256Mi"),
                       role("RESTServer", cpu="250m", memory="1Gi")]},
}
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, engine)
http, address = caller(k8s, engine, "LoadBalancer", 32700)

# %%
label = f"{model_name}/champion"
samples = test[names].head(20).to_dict("records")


def predict() -> dict:
    answer = http.post(f"{address}/{label}/predict", json={"scoring_args": samples}, timeout=30)
    answer.raise_for_status()
    return answer.json()


def apart(kind: str) -> float:
    return float(np.abs(np.array(predict()["predictions"]) - candidates[kind].predict(test[names][:20])).max())


def serving() -> str:
    return served(http, address)[label].get("registered", "none")


wait("the engine to follow the alias", serving, until=lambda seen: seen == version["linear"])
print(f"Version {serving()} serves; its predictions differ by at most {apart('linear'):.0e} from your own model's.")

# %%
check(
    "The engine serves the version that the alias names, with the model's own predictions",
    lambda: serving() == client.get_model_version_by_alias(model_name, "champion").version
    and min(apart(kind) for kind in candidates) < 1e-6,
    saw=lambda: f"version {serving()} of {model_name}, digest {served(http, address)[label]['sha256'][:16]}…",
    hint=[
        "Look at what the engine reports of its model: `served(http, address)` in a cell.",
        "Usually the engine is not connected to the tracking server, or the alias was never set: "
        f"`kubectl describe kdcluster {engine}` in a terminal shows connections and events.",
        "Run the cells that begin `engine, config`, `manifest = {` and `label = f` again.",
    ],
)

# %% [markdown]
# ## 4. Move the alias under load
#
# The boosted model is the challenger. The gate compares it with the champion; then one call moves the
# alias. Nothing is restarted: the engine has a long poll open at the server, which is answered when the
# alias moves. Meanwhile callers send requests without a pause, and record which version answered. They go
# on until the new version answers, for ten seconds at most.

# %%
answers: list[tuple[float, str]] = []


def note() -> bool:
    registered = predict()["registered"]
    answers.append((time.monotonic(), registered))
    return True


# %% tags=["blank"]
def promote(kind: str) -> float:
    # blank: Move the alias `champion` to the version of this kind.
    # stub: client.get_model_version_by_alias(model_name, "champion")
    # solution
    client.set_registered_model_alias(model_name, "champion", version[kind])
    # end of solution
    return time.monotonic()


def move_under_load(kind: str) -> tuple[Crowd, float]:
    if client.get_model_version_by_alias(model_name, "champion").version == version[kind]:  # of an earlier try
        client.set_registered_model_alias(model_name, "champion", version["linear"])
    wait("the first champion", serving, until=lambda seen: seen == version["linear"])
    answers.clear()
    with Crowd(note, callers) as crowd:
        wait("a third of the requests", lambda: len(answers), until=lambda seen: seen > requests_sent / 3, every=0.02)
        moved = promote(kind)
        wait("the rest of the requests", lambda: len(answers), every=0.02, deadline=120, until=lambda seen: (
            seen >= requests_sent and (answers[-1][1] == version[kind] or time.monotonic() > moved + 10)))
    return crowd, moved


print("Against the champion:", refusal("boosted", "linear") or "the challenger passes")
crowd, moved = move_under_load("boosted")

# %%
frame = pd.DataFrame(answers, columns=["at", "version"])
counted = frame["version"].value_counts().to_dict()
late = frame[frame["version"] == version["linear"]]["at"].max() - moved
frame["second"] = ((frame["at"] - moved) * 10).round() / 10
curve = frame.groupby(["second", "version"]).size().unstack(fill_value=0)
curve.columns = [f"version {number}" for number in curve.columns]
show.lines(curve.reset_index(), "second", list(curve.columns), "The alias moved at second 0, and no request failed",
           unit="answers in a tenth of a second")
print(f"{crowd.asked:,} requests, {crowd.failed} failed, {counted}; "
      f"the old version answered for {max(late, 0):.2f} s after the move.")

# %% [markdown]
# The old version serves until the new one is loaded and its digest is verified. Then new requests go to
# the new version, and running requests finish on the old one. For a moment both answer; at no moment
# does a request get no answer.

# %%
check(
    "The alias moved under load, no request failed, and the new version answers",
    lambda: crowd.asked >= requests_sent and crowd.failed == 0
    and set(counted) == {version["linear"], version["boosted"]}
    and serving() == version["boosted"] and apart("boosted") < 1e-6,
    saw=lambda: f"{crowd.asked} requests, {crowd.failed} failed; now version {serving()}",
    hint=[
        "Look at the count of answers: both versions are in it, and no request failed.",
        "Usually the alias did not move, or the load had ended before: "
        f"`client.get_model_version_by_alias({model_name!r}, 'champion')` in a cell shows its version.",
        "Type `promote('linear')`, then run the cells that begin `def promote(` and `frame = pd` again.",
    ],
)

# %% [markdown]
# ## 5. Roll back
#
# If the new version is bad, the rollback is the same call with the old number. The old files are still in
# the engine's cache, so it downloads nothing, and verifies their digest again.

# %% tags=["blank"]
# blank: Move the alias back to the linear version, and wait until the engine serves it.
# stub: began = time.monotonic()
# solution
began = promote("linear")
wait("the old version", serving, until=lambda seen: seen == version["linear"])
# end of solution
print(f"Version {serving()} serves again after {time.monotonic() - began:.2f} s.")

# %%
check(
    "The first champion serves again",
    lambda: serving() == version["linear"] and apart("linear") < 1e-6,
    saw=lambda: f"version {serving()}; its predictions differ by {apart('linear'):.0e} from the linear model's",
    hint=[
        f"Look at the version that serves: it must be {version['linear']}.",
        "Usually the alias still names the boosted version: `served(http, address)` in a cell shows "
        "what the engine serves and its last error.",
        "Run the cell that begins `began = promote` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Read the history
#
# MLflow stores only which version an alias names now. Users have asked for its history since 2019. On this
# platform a guard in front of MLflow records each move; read its record.

# %%
def history() -> list[dict]:
    return ask("labs/moves", name=model_name, alias="champion")["moves"]


show.table([[time.strftime("%H:%M:%S", time.localtime(move["at"])), move["who"], move["from"] or "nothing",
             move["to"] or "nothing"] for move in history()[-5:]], columns=["when", "who", "from", "to"])

# %% [markdown]
# The name is what the client sent with the token; everybody who has the token can send another name. To
# *prove* who moved an alias, each user needs a token of their own, or the platform's sign-in in front of
# the server.

# %%
def steps() -> list[tuple[str, str]]:
    return [(move["from"], move["to"]) for move in history()]


check(
    "The history has the way up and the way back, with your name",
    lambda: (version["linear"], version["boosted"]) in steps()
    and steps()[-1] == (version["boosted"], version["linear"])
    and {move["who"] for move in history()[-2:]} == {place.user},
    saw=lambda: " and ".join(f"{one} to {other}" for one, other in steps()[-2:]) + f", by {history()[-1]['who']}",
    hint=[
        "Look at the last two lines: the way up, and the way back.",
        "Usually the client has no user name, so the moves have none either: "
        "`os.environ['MLFLOW_TRACKING_USERNAME']` in a cell must show yours.",
        "Run the cells that begin `begin(\"mlflow/04\")`, `def promote(` and `began = promote` again.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Registered model alias champion not found`**: the alias was never set, or its version was deleted,
#   which deletes the alias, too. The engine goes on with what it has loaded. Set the alias again.
# - **`a pickle runs code of its author`**, in `kubectl describe` of the engine: the version was logged
#   with `pickle` or `cloudpickle`. Log it again with `serialization_format="skops"`.
# - **A guide moves a model to the stage `Production`**: stages are deprecated since 2023. There are four
#   of them for everybody; an alias is any name you need. The engine takes aliases and fixed versions.

# %% [markdown]
# ## Exercise
#
# For how long was each version the champion? Read it from the history, and store the seconds by version in
# `champion_for`. For the present champion, count up to now.
#
# Hint: at a move the time of its `to` begins and that of its `from` ends.

# %% tags=["exercise"]
# stub: champion_for = {}
# solution
moves, champion_for = history(), {}
for move, later in zip(moves, [*moves[1:], {"at": time.time()}], strict=True):
    if move["to"]:
        champion_for[move["to"]] = champion_for.get(move["to"], 0) + round(later["at"] - move["at"], 1)
# end of solution
print(champion_for)

# %% [markdown]
# ## Recap
#
# - Three **versions** of a model lie in the registry, and a digest says which files are meant.
# - A **gate** measured them and refused one, with numbers in its sentence.
# - An **engine** serves the version that an alias names: of 1,000 requests during its move none failed.
# - The **rollback** was the same call, and the **history** names who moved the alias.
#
# More: [MLflow's model registry](https://mlflow.org/docs/latest/ml/model-registry/),
# [versions and aliases in a workflow](https://mlflow.org/docs/latest/ml/model-registry/workflow/).
#
# Next: the same models answer older clients, in forms of MLflow 1.x.

# %%
quiz(
    "What must be restarted when the alias moves?",
    ["The engine's workers", "Nothing", "The load balancer"],
    right=1,
    because="The engine is notified of the move, loads the new version beside the old one and switches.",
)
quiz(
    "Somebody changed a file of a registered version. What does the engine do?",
    ["It refuses the version and keeps what it serves", "It loads it with a warning", "It ends"],
    right=0,
    because="The digest differs from the one that was recorded at registration.",
)
quiz(
    "Your gate passes a model that is 0.1 % better than the champion. What is missing?",
    ["A fixed limit", "A digest", "A smallest gain"],
    right=2,
    because="min_relative_change asks a challenger to be better by more than chance.",
)

# %% [markdown]
# ## Clean up
#
# The next labs use the engine, so it stays. To remove what carries this lab's label, type
# `finished = True` in a cell and run this one; running it twice is safe. Versions stay in the registry.

# %%
print(remove(k8s, "mlflow/04") if finished else f"Kept for the next labs: {engine} and the versions of {model_name}.")
