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

import numpy as np
import pandas as pd
import requests

from labhelpers import show
from labhelpers import spark as spark_helper
from labhelpers.check import begin, check
from labhelpers.cleanup import labels, remove
from labhelpers.cluster import KUBEDIRECTOR, apply_config_map, caller, connect, restarts
from labhelpers.cluster import served, wait_served
from labhelpers.crowd import Crowd
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
# does not notice: a commit never changes the files of the one before.
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
print(f"version {version} of the table, in place of {card['table_version']}")

# %%
def rides_of_month(**version) -> int:
    return spark.read.load(path, "delta", **version).where(f"month = {month}").count()


check(
    "The table has March, and the version behind your model is untouched",
    lambda: rides_of_month() > 0.5 * new_rows
    and rides_of_month(versionAsOf=card["table_version"]) == 0,
    saw=lambda: f"{rides_of_month():,} rides of {new_month} now, "
    f"{rides_of_month(versionAsOf=card['table_version'])} in version {card['table_version']}",
    hint=[
        "Look at the two numbers: many rides of the new month now, none in the model's version.",
        "Usually the month was not written, or removed again: "
        "`show.files(path, rows=60)` in a cell lists its versions and its files.",
        "Run the cells that begin `lake = workspace(` and `path, month =` again, then this one; "
        "`replaceWhere` makes that safe.",
    ],
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


columns = {"speed": "mph", "duration": "duration", "distance": "trip_distance", "hour": "hour"}
drift = {what: psi(old[column], fresh[column]) for what, column in columns.items()}
show.bars(pd.DataFrame(drift.items(), columns=["what", "psi"]), "what", "psi", "Speed has drifted; distance and hour have not",
          unit="population stability index", limits={"alike below": 0.1, "not to be trusted above": 0.2})

# %%
speed = pd.DataFrame({name: rides.groupby("hour")["mph"].median() for name, rides in both.items()})
show.lines(speed.reset_index(), "hour", ["old", "new"], "The city has become slower", unit="miles per hour")

# %% [markdown]
# The checkpoint asks the table once more, without the sample: the **median** is the value that half of
# the rides stay below.

# %%
def change() -> tuple[float, float]:
    old, new = spark.sql(f"""SELECT percentile(trip_distance / duration, 0.5) AS speed,
            percentile(trip_distance, 0.5) AS miles
        FROM delta.`{path}` GROUP BY month = {month} ORDER BY month = {month}""").collect()
    return new.speed / old.speed, new.miles / old.miles


check(
    "The speed has drifted and the distances have not",
    lambda: change()[0] < 0.9 and 0.95 < change()[1] < 1.05,
    saw=lambda: "the median speed is {:.0%} of the old one, the median distance {:.0%}".format(*change()),
    hint=[
        "Look at the two shares: below 90 % for the speed, near 100 % for the distance.",
        "Usually `slower` is near 1.0, so that nothing has changed, or the month was made before you "
        "changed it: `print(slower, drift)` in a cell shows both.",
        "Type `slower = 0.72` in a cell, run the cells that begin `lake = workspace(`, `path, month =` "
        "and `def collect(` again, then this one.",
    ],
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
    hint=[
        "Look at the Job Status: Queued waits for its turn, Failed says why in the lines below it.",
        "Usually the order names another table version or file than you think: `print(order)` in a cell "
        "shows it, and `%logs` in a cell of its own what the job said.",
        "Run the cells that begin `feature_file =`, `%%trainingengineshared` and `%logs --follow` again.",
    ],
)

# %% [markdown]
# ## 4. Register it under load
#
# Now the part that usually happens at night: the service changes while people use it. A caller asks
# for predictions all the time, and counts what goes wrong. Meanwhile you register version 2 and
# connect the engine to it. KubeDirector hears of it and calls the start script with `--reconnect`;
# no pod is restarted.
#
# Two ConfigMaps are new: one for version 2, and one whose version is called `production`. The second is
# the **pointer**: callers who do not care about numbers ask for `production`, and today that is
# version 1. Both must stand in the list of connections beside the first one; a model that is no longer
# listed is dropped as soon as its last request has been answered.

# %%
def predict(which: str, rows: object) -> requests.Response:
    body = {"use_scoring": True, "scoring_args": rows}
    return http.post(f"{address}/{model_name}/{which}/predict", json=body, timeout=60)


ride = fresh[names].iloc[0].to_dict()
restarts_before = restarts(k8s, engine)
crowd = Crowd(lambda: predict("1", ride).ok).start()

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
patched = k8s.custom.patch_namespaced_custom_object(name=engine, body=patch, **where)

# %%
names_served = wait_served(http, address, f"{model_name}/2", f"{model_name}/production")
crowd.stop()
print(f"{crowd.asked} asked, {crowd.failed} failed; served: {', '.join(names_served)}")

# %%
check(
    "All versions answer, and not one request failed meanwhile",
    lambda: all(predict(which, ride).ok for which in ("1", "2", "production"))
    and crowd.asked > 0 == crowd.failed,
    saw=lambda: f"{', '.join(served(http, address))} answer; {crowd.asked} asked, {crowd.failed} failed",
    hint=[
        "Look at what was found: three models must be served, and no request may have failed.",
        "Usually a ConfigMap is missing in the list of connections: whatever is not listed is dropped. "
        f"`kubectl get kdcluster {engine} -o yaml` in a terminal shows the list.",
        "Run the cells that begin `def predict(`, `first = k8s`, `newer = {` and `names_served =` "
        "again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Read what happened
#
# You need not believe it. The events of the kdcluster say in which order things happened, and the
# pods' restart counters say that nobody was restarted. What happens again makes no second event: the
# first one's count grows, and its time is that of the last.
#
# ```bash
# kubectl describe kdcluster "inference-server-$EZMERAL_USER" | grep -i connect
# kubectl get pod -l "kubedirector.hpe.com/kdcluster=inference-server-$EZMERAL_USER"
# ```

# %%
def told() -> list[list[object]]:
    selector = f"involvedObject.name={engine}"
    events = k8s.core.list_namespaced_event(k8s.namespace, field_selector=selector).items
    events.sort(key=lambda event: event.last_timestamp)
    return [[f"{event.last_timestamp:%H:%M:%S}", event.count, event.message]
            for event in events if "connect" in event.message]


show.table(told()[-6:], columns=["last at", "times", "what happened"])

# %%
check(
    "The engine was told to reconnect, and no pod was restarted",
    lambda: any("--reconnect" in message for *_, message in told())
    and restarts(k8s, engine) == restarts_before,
    saw=lambda: f"{len(told())} events; restarts of each pod: {list(restarts(k8s, engine).values())}",
    hint=[
        "Look at two things: an event that says `--reconnect`, and restarts as many as before step 4.",
        "Usually the events are gone, for they are kept for an hour, or a pod was replaced since: "
        f"`kubectl get pod -l kubedirector.hpe.com/kdcluster={engine}` in a terminal shows the pods.",
        "Run step 4 again: the cells that begin `def predict(`, `first = k8s`, `newer = {` and "
        "`names_served =`, then this one.",
    ],
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
    predicted = np.array(predict(which, rows).json()["predictions"])
    return float(np.abs(predicted - held["duration"]).mean())


errors = pd.DataFrame([[f"version {which}", error_of(which)] for which in ("1", "2")],
                      columns=["model", "seconds off"])
show.bars(errors, "model", "seconds off", f"Version 2 knows the rides of {new_month} better", unit="seconds off, on average")


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
    lambda: np.isclose(error_of("production"), error_of("2")) and error_of("2") < error_of("1"),
    saw=lambda: ", ".join(f"{which}: {error_of(which):.0f} s off" for which in ("1", "2", "production")),
    hint=[
        "Compare the three numbers: production must be as far off as version 2, and less than version 1.",
        "Usually production still points at version 1, because the last call decides: "
        f"`kubectl get configmap model-{place.user}-production -o yaml` in a terminal shows its path.",
        'Type `point_production_at("2", second_error)` in a cell, then run this one again.',
    ],
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
def lineage() -> list[list[object]]:
    history = spark.sql(f"DESCRIBE HISTORY delta.`{path}`").collect()
    written = {str(row.version): str(row.timestamp)[:19] for row in history}
    selector = "kubedirector.hpe.com/cmType=model"
    models = k8s.core.list_namespaced_config_map(k8s.namespace, label_selector=selector).items
    return [
        [data["model-version"], data["mae-seconds"], data["table-version"], written[data["table-version"]]]
        for data in (one.data for one in models)
        if data["name"] == model_name and data.get("table") == card["table"] and "table-version" in data
    ]


show.table(lineage(), columns=["model", "seconds off", "table version", "data written at"])

# %%
check(
    "Each model names a version of the table that can still be read",
    lambda: {row[0] for row in lineage()} >= {"1", "2", "production"}
    and all(spark.read.load(path, "delta", versionAsOf=row[2]).count() > 0 for row in lineage()),
    saw=lambda: ", ".join(f"{row[0]} from version {row[2]}" for row in lineage()),
    hint=[
        "Look which models were found: 1, 2 and production must each name a version of the table.",
        "Usually a model was registered without `table-version`: `kubectl get configmap -l "
        "kubedirector.hpe.com/cmType=model -o yaml` in a terminal shows what each of them says.",
        'Type `register("1", first); register("2", first | newer)` in a cell and run the one that '
        "begins `def point_production_at` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **Version 2 is not served**: `served(http, address)` in a cell shows the engine's `error`. Most
#   often the path names a file that the training job has not written.
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
