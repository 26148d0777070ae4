# %% [markdown]
# # Lab core-07: Change it while it runs
#
# A new month arrives, the city has changed, and your service follows without stopping.

# %% [markdown]
# ## What you will build
#
# - A **drift report**: how the new month differs from the data your model knows.
# - A **second version** of the model, served beside the first by the same engine, without a restart.
# - A **promotion** and a way back, and a query that says which data made which model.
#
# ![A new month becomes a new table version, a new model and a new ConfigMap; the engine reconnects
# while requests go on, and the pointer moves to version 2 and
# back.](../../Pictures/core-07-dynamic-pipeline.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-06 | The engine serves version 1 | `kubectl get kdcluster` |
# | Lab core-04's training program | It trains version 2 | `ls $PROJECT_REPO/code/$EZMERAL_USER` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
model_name: str = "ride-duration"  # the model that changes
new_month: str = "2024-03"  # what arrives in the lake
new_rows: int = 60_000  # how many trips the new month brings
slower: float = 0.72  # midtown traffic in the new month, as a share of the old speed
sample: int = 60_000  # rides to learn from, at most
seed: int = 11  # the same month at every run

# %% [markdown]
# ## Setup

# %%
import json
import threading

import numpy as np
import pandas as pd

from labhelpers import show
from labhelpers import spark as spark_helper
from labhelpers.check import begin, check
from labhelpers.cleanup import labels, remove
from labhelpers.cluster import KUBEDIRECTOR, apply_config_map, caller, connect, restarts, wait_served
from labhelpers.data import Drift, make_trips, read_trips, zones_file
from labhelpers.prerequisite import cluster_of, file_of
from labhelpers.quiz import quiz
from labhelpers.repository import workspace
from labhelpers.settings import settings
from labhelpers.wait import wait

# %%
# %load_ext labhelpers.magics
begin("core/07")
place, k8s = settings(), connect()
spark = spark_helper.session("core-07")
engine = cluster_of("core-05", k8s, f"inference-server-{place.user}")["metadata"]["name"]
repo = place.project_repo
models, code, features = (repo / what / place.user for what in ("models", "code", "features"))
http, address = caller(k8s, engine, "LoadBalancer", 32700)
card = json.loads(file_of("core-04", models / f"{model_name}-1.json").read_text("utf-8"))
names = card["features"]

# %% [markdown]
# ## 1. Let a new month arrive
#
# Data keeps coming. March lands in the lake as raw files, and you bring it into the trips table by
# the same rules as before. Adding the rows blindly would double them when somebody runs the cell
# twice; `replaceWhere` replaces March and nothing else, in one commit. Whoever reads the old version
# does not notice.
#
# The rules are a file that lab core-03 left in the project repository, and the features come from the
# file that lab core-04 left: whatever was cleaned or computed for the first model is cleaned and
# computed in the same way for the second. The month itself is made here, with the traffic in midtown
# slower than before, as it would be after a bridge has been closed.

# %%
lake = workspace("lakehouse") / f"month-{new_month}"
make_trips(lake, new_rows, months=1, seed=seed, start=new_month, drift=Drift(midtown_speed=slower))
arrived = read_trips(spark, lake / "trips")
arrived = arrived.selectExpr("*", "date_format(tpep_pickup_datetime, 'yyyy-MM') AS month")
arrived.where(f"month = '{new_month}'").createOrReplaceTempView("rides")
spark.read.csv(str(zones_file()), header=True, inferSchema=True).createOrReplaceTempView("zones")
march = spark.sql((workspace("lakehouse") / "clean.sql").read_text("utf-8"))

# %%
path, month = str(repo / card["table"]), int(new_month[-2:])
new = march.where("duration BETWEEN 21 AND 10799")
new.write.save(path, "delta", "overwrite", replaceWhere=f"month = {month}")
version = spark.sql(f"DESCRIBE HISTORY delta.`{path}`").first().version
before = spark.read.load(path, "delta", versionAsOf=card["table_version"])
after = spark.read.load(path, "delta", versionAsOf=version)

# %%
check(
    "The table has March, and the version behind your model is untouched",
    lambda: after.where(f"month = {month}").count() > 0.5 * new_rows
    and before.where(f"month = {month}").count() == 0,
    saw=lambda: f"{after.where(f'month = {month}').count():,} rides of {new_month}",
    hint="Run this step again from its first cell; replaceWhere makes that safe.",
)

# %% [markdown]
# ## 2. See the drift
#
# Has the world changed, or only grown? Compare the speed of rides by hour, old against new. One
# number for it is the **population stability index** (PSI): how far two histograms are apart. Below
# 0.1 they are alike; above 0.2 a model trained on one should not be trusted with the other.
#
# Look at several columns, not at one. If the speed has drifted while distances and hours have not, the
# city has slowed down. If the distances had drifted too, people would be riding elsewhere, and that
# would call for another answer than training the same model again.

# %%
def collect(frame) -> pd.DataFrame:
    frame.createOrReplaceTempView("trips")
    made = spark.sql((code / "features.sql").read_text("utf-8"))
    rides = made.sample(fraction=min(1.0, sample / made.count()), seed=seed).toPandas()
    return rides.assign(mph=rides["trip_distance"] / rides["duration"] * 3600)


old, fresh = collect(before), collect(after.where(f"month = {month}"))
both = {"old": old, "new": fresh}

# %%
def psi(one: pd.Series, other: pd.Series) -> float:
    edges = np.unique(np.quantile(one, np.linspace(0, 1, 11)))
    edges[[0, -1]] = -np.inf, np.inf
    shares = [np.histogram(part, edges)[0] / len(part) + 1e-6 for part in (one, other)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


drift = {name: psi(old[name], fresh[name]) for name in ("mph", "duration", "trip_distance", "hour")}
show.bars(pd.DataFrame(drift.items(), columns=["what", "psi"]), "what", "psi", "What has changed");

# %%
speed = pd.DataFrame({name: rides.groupby("hour")["mph"].median() for name, rides in both.items()})
show.lines(speed.reset_index(), "hour", ["old", "new"], "The city has become slower", unit="miles per hour");

# %%
check(
    "The speed has drifted and the distances have not",
    lambda: drift["mph"] > 0.1 > drift["trip_distance"],
    saw=lambda: ", ".join(f"{name} {value:.2f}" for name, value in drift.items()),
    hint="With `slower` near 1.0 nothing has changed; set it to 0.72 and run from step 1.",
)

# %% [markdown]
# ## 3. Train version 2
#
# The program of lab core-04 is on the project repository; you give it a new **order**: new features,
# a new version, and the table version they came from.
#
# The model learns from old and new rides together. With the new month alone it would forget the seasons
# it has not seen there, and with the old ones alone it would learn nothing. The job waits in the same
# queue as everybody's, and `%logs --follow` shows its words while it runs.

# %%
feature_file = features / f"rides-v{version}.parquet"
held = fresh.sample(2000, random_state=seed)  # put aside to judge with, never learned
pd.concat([old, fresh.drop(held.index)]).drop(columns="mph").to_parquet(feature_file)
pace = fresh["duration"].sum() / fresh["trip_distance"].sum()
naive = fresh["duration"] - fresh["trip_distance"] * pace
order = json.loads((code / "order.json").read_text("utf-8"))
order |= {"version": "2", "features": str(feature_file.relative_to(repo))}
order["about"] |= {"table_version": version, "baseline_mae": float(naive.abs().mean())}
(code / "order.json").write_text(json.dumps(order, indent=1), "utf-8")
# %attachments

# %%
# %%trainingengineshared --name rides-2 --memory 2Gi
import os
import runpy

runpy.run_path(f"{os.environ['PROJECT_REPO']}/code/{os.environ['LAB_USER']}/train_rides.py")

# %%
# %logs --follow

# %%
second_file = models / f"{model_name}-2.json"
check(
    "Version 2 is trained on the new table version",
    lambda: wait("the card", second_file.is_file, deadline=120)
    and json.loads(second_file.read_text())["table_version"] == version,
    saw=lambda: f"{json.loads(second_file.read_text())['mae']:.0f} seconds off",
    hint="`%logs` shows the job: Queued means wait, Failed says why.",
)

# %% [markdown]
# ## 4. Register it under load
#
# Now the part that usually happens at night: the service changes while people use it. A loop asks
# for predictions all the time and counts what goes wrong. Meanwhile you register version 2 and
# connect the engine to it. KubeDirector hears of it and calls the start script with `--reconnect`;
# no pod is restarted.
#
# Two ConfigMaps are new: one for version 2, and one whose version is called `production`. The second is
# the **pointer**: callers who do not care about numbers ask for `production`, and today that is
# version 1. Both must stand in the list of connections beside the first one; a model that is no longer
# listed is dropped as soon as its last request has been answered.

# %%
ride = fresh[names].iloc[0].to_dict()
counts = {"asked": 0, "failed": 0, "running": True}


def ask_for_ever() -> None:
    while counts["running"]:
        body = {"use_scoring": True, "scoring_args": ride}
        reply = http.post(f"{address}/{model_name}/1/predict", json=body, timeout=30)
        counts["asked"] += 1
        counts["failed"] += reply.status_code != 200


restarts_before = restarts(k8s, engine)
callers = threading.Thread(target=ask_for_ever)
callers.start()

# %%
first = k8s.core.read_namespaced_config_map(f"model-{place.user}-1", k8s.namespace).data
second = json.loads(second_file.read_text("utf-8"))
marks = labels("core/07") | {"kubedirector.hpe.com/cmType": "model"}


def register(which: str, data: dict) -> None:
    data = data | {"model-version": which}
    apply_config_map(k8s, f"model-{place.user}-{which}", data, marks)


# %%
newer = {
    "path": first["path"].replace("-1.skops", "-2.skops"),
    "table-version": str(version),
    "mae-seconds": f"{second['mae']:.1f}",
    "trained-at": second["trained_at"],
}
register("2", first | newer)
register("production", first)
wanted = [f"model-{place.user}-{which}" for which in ("1", "2", "production")]
where = {**KUBEDIRECTOR, "namespace": k8s.namespace, "plural": "kubedirectorclusters"}
connections = {"configmaps": wanted, "secrets": ["hpecp-ext-auth-secret"]}
patch = {"spec": {"connections": connections}}
k8s.custom.patch_namespaced_custom_object(name=engine, body=patch, **where)

# %%
names_served = wait_served(http, address, f"{model_name}/2", f"{model_name}/production")
counts["running"] = False
callers.join()
print(counts["asked"], "asked,", counts["failed"], "failed;", ", ".join(names_served))

# %%
check(
    "Both versions answer, and not one request failed meanwhile",
    lambda: counts["failed"] == 0 and counts["asked"] > 0 and f"{model_name}/1" in names_served,
    saw=lambda: f"{counts['asked']} requests, {counts['failed']} failed",
    hint=f"`kubectl describe kdcluster {engine}` shows whether the reconnect went well.",
)

# %% [markdown]
# ## 5. Read what happened
#
# You need not believe it. The events of the kdcluster say in which order things happened, and the
# pods' restart counters say that nobody was restarted.
#
# ```bash
# kubectl describe kdcluster "inference-server-$EZMERAL_USER" | grep -i connect
# kubectl get pod -l "kubedirector.hpe.com/kdcluster=inference-server-$EZMERAL_USER"
# ```

# %%
events = k8s.core.list_namespaced_event(
    k8s.namespace, field_selector=f"involvedObject.name={engine}"
).items
told = [[event.reason, event.message] for event in events if "connect" in event.message]
show.table(told[-6:], columns=["reason", "what happened"])

# %%
check(
    "The engine was told to reconnect, and no pod was restarted",
    lambda: any("--reconnect" in message for _, message in told) and restarts(k8s, engine) == restarts_before,
    saw=lambda: f"{len(told)} events; restarts of each pod: {list(restarts_before.values())}",
    hint="Events are kept for an hour. If yours are gone, run step 4 again.",
)

# %% [markdown]
# ## 6. Compare, promote, roll back
#
# Let both versions predict the new month and compare them with what really happened. Then move the
# pointer: callers ask for the version `production`, and you decide what that is. Promoting is one
# change of one ConfigMap; rolling back is the same change the other way.
#
# Judge with rides that neither version has learned from: the two thousand you put aside in step 3. A
# model that is better only on the data it was trained on has learned them by heart. And roll back
# once while nothing is wrong: a way back that nobody has tried is not a way back.

# %%
rows = held[names].to_dict("records")


def error_of(which: str) -> float:
    body = {"use_scoring": True, "scoring_args": rows}
    reply = http.post(f"{address}/{model_name}/{which}/predict", json=body, timeout=60)
    return float(np.abs(np.array(reply.json()["predictions"]) - held["duration"]).mean())


errors = pd.DataFrame([[f"version {which}", error_of(which)] for which in ("1", "2")],
                      columns=["model", "seconds off"])
show.bars(errors, "model", "seconds off", f"Both on the rides of {new_month}", unit="seconds off");


# %%
def point_production_at(which: str, expected: float) -> None:
    data = k8s.core.read_namespaced_config_map(f"model-{place.user}-{which}", k8s.namespace).data
    register("production", data)
    wait(
        f"production to be version {which}",
        lambda: error_of("production"),
        until=lambda seen: abs(seen - expected) < 1e-6,
        ignoring=(OSError, KeyError, ValueError),
    )


first_error, second_error = errors["seconds off"]
point_production_at("2", second_error)
point_production_at("1", first_error)
point_production_at("2", second_error)

# %%
check(
    "Version 2 is better on the new month, and production is version 2",
    lambda: second_error < first_error and abs(error_of("production") - second_error) < 1e-6,
    saw=lambda: f"version 1: {first_error:.0f} s off, version 2: {second_error:.0f} s off",
    hint="Run the two cells above again; the last call decides what production is.",
)

# %% [markdown]
# ## 7. Ask which data made which model
#
# A year from now somebody will ask. The registry knows the table version, and the table knows what
# each version was: join them.
#
# The answer is a table with one row for each registered model: the commit it was trained on, when that
# commit was written, and how good the model was then. Because each commit can still be read, anybody
# can train the model again and compare. That is what *reproducible* means, and it costs one number
# written down at the right moment.

# %%
history = spark.sql(f"DESCRIBE HISTORY delta.`{path}`").collect()
written = {row.version: str(row.timestamp)[:19] for row in history}
registered = k8s.core.list_namespaced_config_map(
    k8s.namespace, label_selector="kubedirector.hpe.com/cmType=model"
).items
lineage = [
    [data["model-version"], data["mae-seconds"], int(data["table-version"]), written[int(data["table-version"])]]
    for data in (one.data for one in registered)
    if data.get("name") == model_name and data.get("table") == card["table"]
]
show.table(lineage, columns=["model", "seconds off", "table version", "data written at"])

# %%
check(
    "Each model names a version of the table that can still be read",
    lambda: {row[0] for row in lineage} >= {"1", "2", "production"}
    and all(spark.read.load(path, "delta", versionAsOf=row[2]).count() > 0 for row in lineage),
    saw=lambda: ", ".join(f"{row[0]} from version {row[2]}" for row in lineage),
    hint="A model without `table-version` was registered by hand; register it as lab core-05 does.",
)

# %% [markdown]
# ## If it does not work
#
# - **Version 2 does not show up in `/models`**: read the `error` there. Most often the path names a
#   file that the training job has not written.
# - **`Change to spec not allowed before previous spec change has been processed`**: the engine is
#   still working on the last change. Wait for `configured`, then run the cell again.
# - **A request failed**: look at its status. 404 means that version 1 is no longer connected: all
#   wanted ConfigMaps must stand in the list.

# %% [markdown]
# ## Exercise
#
# How much data does version 2 need? Train a version 3 on a tenth of the new month and compare. To
# keep it short, do only the first half here: store in `tenth` a tenth of `fresh`, chosen at random
# but the same at every run.
#
# Hint: `DataFrame.sample` takes `frac` and `random_state`.

# %% tags=["exercise"]
# stub: tenth = fresh.head(0)
# solution
tenth = fresh.sample(frac=0.1, random_state=seed)
# end of solution
print(len(tenth))

# %% [markdown]
# ## Recap
#
# - You saw the **drift** in the data, and what it does to the old model.
# - **Version 2** joined version 1 under load; no request failed, no pod was restarted.
# - You **promoted** it, rolled back, promoted again, and can name the data behind every model.
#
# This is the end of the core workshop. Your service runs, follows its data, and can explain itself.

# %%
quiz(
    "What is drift?",
    ["A bug in the service", "The data today differ from those the model learned", "A slow disk"],
    right=1,
    because="The model is as good as ever, for a world that is gone.",
)
quiz(
    "Why promote by moving a pointer?",
    ["It is shorter", "Callers change nothing, and the way back is the same move", "It is faster"],
    right=1,
    because="Both versions stay loaded, so rolling back takes a second and no training.",
)
quiz(
    "What proves that nothing was restarted?",
    ["The restart counters and the events", "The log is short", "It felt quick"],
    right=0,
    because="Facts on the platform, not impressions, and anybody can look them up again.",
)

# %% [markdown]
# ## Clean up
#
# The workshop ends here, so everything goes that the labs put on the cluster. The table, the models
# and your notebook's files stay in the project repository. Running this twice is safe.

# %%
spark.stop()
for lab in ("core/07", "core/05", "core/02"):
    print(lab, remove(k8s, lab) or "nothing left")
