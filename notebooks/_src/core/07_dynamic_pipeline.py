# %% [markdown]
# # Lab core-07: Change it while it runs
#
# New months arrive, the city has changed, and your service follows without stopping.

# %% [markdown]
# ## What you will build
#
# - A **drift report**: how the new month differs from the data your model knows.
# - A **second version**, served beside the first without a restart, and promoted.
# - A **monitor** that shows when the promoted version fails, and the reason why.
# - A **third version** with repaired features, promoted and rolled back while callers ask.
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
# | Lab core-04's training program | It trains versions 2 and 3 | `ls $PROJECT_REPO/code/$EZMERAL_USER` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
model_name: str = "ride-duration"  # the model that changes
new_month: str = "2024-03"  # what arrives in the lake; the month after it follows
new_rows: int = 60_000  # how many trips the new month brings
slower: float = 0.72  # midtown traffic in the new month, as a share of the old speed
sample: int = 60_000  # rides to learn from, at most
alarm: float = 1.12  # rides may take so many times what was predicted, in the median of a day
seed: int = 11  # the same month at every run
finished: bool = False  # True: the clean-up removes all that the labs put on the cluster

# %% [markdown]
# ## Setup

# %%
import hashlib
import json
import shlex
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import requests

# %%
from labhelpers import Crowd, begin, check, file_of, quiz, refusal, settings, show, spark_session, wait, workspace
from labhelpers.cluster import KUBEDIRECTOR, apply_config_map, caller, cluster_of, connect, labels, remove, restarts, served, wait_configured, wait_served
from labhelpers.data import Drift, make_trips, read_trips, zones_file

# %%
# %load_ext labhelpers.magics
begin("core/07")
place, k8s = settings(), connect()
spark = spark_session("core-07")
engine = cluster_of("core-05", k8s, f"inference-server-{place.user}")["metadata"]["name"]
repo = place.project_repo
models, code, features = (repo / what / place.user for what in ("models", "code", "features"))
http, address = caller(k8s, engine, "LoadBalancer", 32700)
card = json.loads(file_of("core-04", models / f"{model_name}-1.json").read_text("utf-8"))
recipe = (code / "features.sql").read_text("utf-8")
next_month = str(pd.Period(new_month) + 1)

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
def arrive(month: str):
    lake = workspace("lakehouse") / f"month-{month}"
    make_trips(lake, new_rows, months=1, seed=seed, start=month, drift=Drift(midtown_speed=slower))
    arrived = read_trips(spark, lake / "trips")
    arrived = arrived.selectExpr("*", "date_format(tpep_pickup_datetime, 'yyyy-MM') AS month")
    arrived.where(f"month = '{month}'").createOrReplaceTempView("rides")
    return spark.sql((workspace("lakehouse") / "clean.sql").read_text("utf-8"))


spark.read.csv(str(zones_file()), header=True, inferSchema=True).createOrReplaceTempView("zones")

# %% tags=["blank"]
def of(month: str) -> str:
    return f"tpep_pickup_datetime >= '{month}-01' AND tpep_pickup_datetime < '{pd.Period(month) + 1}-01'"


def bring(month: str) -> int:
    new = arrive(month).where("duration BETWEEN 21 AND 10799")
    # blank: Overwrite the Delta table at `path` with `new`, but replace only the rows `of(month)`.
    # solution
    new.write.save(path, "delta", "overwrite", replaceWhere=of(month))
    # end of solution
    return spark.sql(f"DESCRIBE HISTORY delta.`{path}`").first().version


path = str(repo / card["table"])
version = bring(new_month)
before = spark.read.load(path, "delta", versionAsOf=card["table_version"])
after = spark.read.load(path, "delta", versionAsOf=version)
print(f"version {version} of the table, in place of {card['table_version']}")

# %%
def rides_of_month(**version) -> int:
    return spark.read.load(path, "delta", **version).where(of(new_month)).count()


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
        "Run the cells that begin `def arrive(` and `def of(` again, then this one; "
        "`replaceWhere` makes that safe.",
    ],
)

# %% [markdown]
# ## 2. See the drift
#
# Has the world changed, or only grown? Compare the speed of rides by hour, old against new. One
# number for it is the **population stability index** (PSI): how far two histograms are apart. Below
# 0.1 they are alike; above 0.2 a model trained on one should not be trusted with the other; between the
# two, look closer, as you do next.
#
# Look at several columns, not at one. If the speed has drifted while distances and hours have not, the
# city has slowed down. If the distances had drifted too, people would be riding elsewhere, and that
# would call for another answer than training the same model again.

# %%
def collect(rides, recipe: str, only: str = "true") -> pd.DataFrame:
    rides.createOrReplaceTempView("trips")
    made = spark.sql(recipe).where(only)
    return made.sample(fraction=min(1.0, sample / made.count()), seed=seed).toPandas()


old, fresh = collect(before, recipe), collect(after.where(of(new_month)), recipe)
both = {"old": old, "new": fresh}
for rides in both.values():
    rides["mph"] = rides["straight_miles"] / rides["duration"] * 3600

# %%
def psi(one: pd.Series, other: pd.Series) -> float:
    edges = np.unique(np.quantile(one, np.linspace(0, 1, 11)))
    edges[[0, -1]] = -np.inf, np.inf
    shares = [np.histogram(part, edges)[0] / len(part) + 1e-6 for part in (one, other)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


columns = {"speed": "mph", "duration": "duration", "distance": "straight_miles", "hour": "hour"}
drift = {what: psi(old[column], fresh[column]) for what, column in columns.items()}
show.bars(pd.DataFrame(drift.items(), columns=["what", "psi"]), "what", "psi", "Speed has drifted; distance and hour have not",
          unit="population stability index", limits={"alike below": 0.1, "not to be trusted above": 0.2})

# %%
speed = pd.DataFrame({name: rides.groupby("hour")["mph"].median() for name, rides in both.items()})
show.lines(speed.reset_index(), "hour", ["old", "new"], "The city has become slower", unit="miles of straight line per hour")

# %% [markdown]
# The checkpoint asks the table once more, without the sample: the **median** is the value that half of
# the rides stay below.

# %%
def change() -> tuple[float, float]:
    new, old = spark.sql(f"""SELECT {of(new_month)} AS is_new,
            percentile(trip_distance / duration, 0.5) AS speed, percentile(trip_distance, 0.5) AS miles
        FROM delta.`{path}` WHERE tpep_pickup_datetime < '{next_month}-01'
        GROUP BY is_new ORDER BY is_new DESC""").collect()
    return new.speed / old.speed, new.miles / old.miles


check(
    "The speed has drifted and the distances have not",
    lambda: change()[0] < 0.9 and 0.95 < change()[1] < 1.05,
    saw=lambda: "the median speed is {:.0%} of the old one, the median distance {:.0%}".format(*change()),
    hint=[
        "Look at the two shares: below 90 % for the speed, near 100 % for the distance.",
        "Usually `slower` is near 1.0, so that nothing has changed, or the month was made before you "
        "changed it: `print(slower, drift)` in a cell shows both.",
        "Type `slower = 0.72` in a cell, run the cells that begin `def arrive(`, `def of(` "
        "and `def collect(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Train version 2
#
# The program of lab core-04 is on the project repository; you give it new **arguments**: other rides,
# a new version, and the table version they came from.
#
# The model learns from old and new rides together. With the new month alone it would forget the seasons
# it has not seen there, and with the old ones alone it would learn nothing.
#
# Two groups of rides are put aside to compare the versions later, and neither version learns from them:
# the old rides on which lab core-04 tested version 1, and a tenth of the rides of the new month.

# %%
feature_file = features / f"rides-v{version}.parquet"
known = pd.read_parquet(repo / card["rides"])
tested = pd.read_parquet(models / f"{model_name}-1-test.parquet").drop(columns="predicted")
arrived_rides = fresh.drop(columns="mph")
held = arrived_rides.sample(frac=0.1, random_state=seed)
learned = [known.drop(tested.index), arrived_rides.drop(held.index)]
pd.concat(learned, ignore_index=True).to_parquet(feature_file)
program = code / "train_rides.py"
arguments = shlex.join([
    f"--rides={feature_file.relative_to(repo)}", f"--table={card['table']}",
    f"--table-version={version}", f"--name={model_name}", "--version=2",
    f"--depth={card['depth']}", f"--seed={card['seed']}",
])
# %attachments

# %%
# %%trainingengineshared --name rides-2 --memory 2Gi --include "{program}" -- {arguments}
import os

print("The record of this job:", os.environ["JOB_RECORD"])

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
        "Usually the arguments name another table version or file than you think: `print(arguments)` in a "
        "cell shows them, and `%logs` in a cell of its own what the job said.",
        "Run the cells that begin `feature_file =`, `%%trainingengineshared --name rides-2` and "
        "`%logs --follow` again.",
    ],
)

# %% [markdown]
# ## 4. Register and promote it under load
#
# Now the service changes while people use it. A caller asks for predictions all the time, and counts
# the requests that fail. Meanwhile you register version 2 and
# connect the engine to it. KubeDirector sees the change and calls the start script with
# `--reconnect`; no pod is restarted.
#
# Two ConfigMaps are new: one for version 2, with the lineage of version 2's own card, and one whose
# version is called `production`. The second is the **pointer**: callers who do not care about numbers
# ask for `production`, and today that is version 1. All of them must be in the list of connections; a
# model that is no longer listed is dropped as soon as its last request has been answered.

# %%
beside = ["duration", "borough", "pickup"]  # what stands beside the features


def predict(which: str, rides: pd.DataFrame) -> requests.Response:
    rows = rides.drop(columns=beside).to_dict("records")
    body = {"use_scoring": True, "scoring_args": rows}
    return http.post(f"{address}/{model_name}/{which}/predict", json=body, timeout=60)


def told() -> list[list[object]]:
    selector = f"involvedObject.name={engine}"
    events = k8s.core.list_namespaced_event(k8s.namespace, field_selector=selector).items
    events.sort(key=lambda event: event.last_timestamp)
    return [[f"{event.last_timestamp:%H:%M:%S}", event.count or 1, event.message]
            for event in events if "connect" in event.message]

# %%
def reconnects() -> int:
    return sum(times for _, times, message in told() if "--reconnect" in message)


ride = fresh.head(1).drop(columns="mph")
restarts_before, reconnects_before = restarts(k8s, engine), reconnects()
crowd = Crowd(lambda: predict("1", ride).ok).start()

# %%
first = k8s.core.read_namespaced_config_map(f"model-{place.user}-1", k8s.namespace).data
second = json.loads(second_file.read_text("utf-8"))
marks = labels("core/07") | {"kubedirector.hpe.com/cmType": "model"}


def register(which: str, data: dict) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    data = data | {"model-version": which, "registered-at": now, "registered-by": place.user}
    apply_config_map(k8s, f"model-{place.user}-{which}", data, marks)


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# %%
def entry(trained: dict) -> dict:
    return first | {
        "path": first["path"].replace(card["file"], trained["file"]),
        "table": trained["table"], "table-version": str(trained["table_version"]),
        "job": trained["job"], "code-digest": trained["code_digest"],
        "model-digest": trained["model_digest"], "scoring-digest": digest(code / "score_rides.py"),
        "mae-seconds": f"{trained['mae']:.1f}",
        "trained-by": trained["trained_by"], "trained-at": trained["trained_at"],
    }


register("2", entry(second))
register("production", first)

# %%
def connect_models(*which: str) -> list[str]:
    configmaps = [f"model-{place.user}-{one}" for one in which]
    connections = {"configmaps": configmaps, "secrets": ["hpecp-ext-auth-secret"]}
    where = {**KUBEDIRECTOR, "namespace": k8s.namespace, "plural": "kubedirectorclusters"}
    patch = {"spec": {"connections": connections}}
    k8s.custom.patch_namespaced_custom_object(name=engine, body=patch, **where)
    return list(wait_served(http, address, *(f"{model_name}/{one}" for one in which)))


models_served = connect_models("1", "2", "production")
wait("the engine to be told", reconnects, until=lambda times: times > reconnects_before)
wait_configured(k8s, engine)
crowd.stop()
print(f"{crowd.asked} asked, {crowd.failed} failed; served: {', '.join(models_served)}")

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
        "Run the cells that begin `beside =`, `def reconnects(`, `first = k8s`, `def entry(` and "
        "`def connect_models(` again, then this one.",
    ],
)

# %% [markdown]
# Check it. The events of the kdcluster show the order in which things happened, and the pods' restart
# counters show that nothing was restarted. What happens again makes no second event: the
# first one's count grows, and its time is that of the last. So the checkpoint compares counts, from
# before the change and from now.
#
# ```bash
# kubectl describe kdcluster "inference-server-$EZMERAL_USER" | grep -i connect
# kubectl get pod -l "kubedirector.hpe.com/kdcluster=inference-server-$EZMERAL_USER"
# ```

# %%
show.table(told()[-6:], columns=["last at", "times", "what happened"])

# %%
check(
    "The engine was told to reconnect, and no pod was restarted",
    lambda: reconnects() > reconnects_before and restarts(k8s, engine) == restarts_before,
    saw=lambda: f"{reconnects_before} reconnects before, {reconnects()} now; restarts of each pod: "
    f"{list(restarts(k8s, engine).values())}",
    hint=[
        "Look at two things: more reconnects than before step 4, and as many restarts.",
        "Usually the events are gone, for they are kept for an hour, or a pod was replaced since: "
        f"`kubectl get pod -l kubedirector.hpe.com/kdcluster={engine}` in a terminal shows the pods.",
        "Run step 4 again: the cells that begin `def reconnects(`, `first = k8s`, `def entry(` and "
        "`def connect_models(`, then this one.",
    ],
)

# %% [markdown]
# Let both versions predict the rides that you put aside in step 3, and compare with what really
# happened: the same rides for both, which neither has learned from. The errors on the two cards cannot
# be compared, because each training tested itself on its own rides. Then move the pointer: promoting is
# one change of one ConfigMap.

# %% tags=["blank"]
def answers(which: str, rides: pd.DataFrame) -> np.ndarray:
    return np.array(predict(which, rides).json()["predictions"])


def error_of(which: str, rides: pd.DataFrame) -> float:
    # blank: Return the mean absolute difference of `answers` for these rides and their durations.
    # solution
    return float(np.abs(answers(which, rides) - rides["duration"]).mean())
    # end of solution
    # stub: return 0.0


judged = {"the months before": tested.sample(min(2000, len(tested)), random_state=seed), new_month: held}
errors = pd.DataFrame([[f"version {which}", *(error_of(which, rides) for rides in judged.values())]
                       for which in ("1", "2")], columns=["model", *judged])
show.table(errors.round(1), "Seconds off, on average, on the same rides")
show.bars(errors, "model", new_month, f"Version 2 knows the rides of {new_month} better", unit="seconds off, on average")


# %%
def point_production_at(which: str, rides: pd.DataFrame) -> None:
    data = k8s.core.read_namespaced_config_map(f"model-{place.user}-{which}", k8s.namespace).data
    register("production", data)
    wait(
        f"production to be version {which}",
        lambda: np.array_equal(answers("production", rides), answers(which, rides)),
        ignoring=(OSError, KeyError, ValueError),
    )


point_production_at("2", held)

# %%
check(
    "Version 2 is better on the new month, and production is version 2",
    lambda: error_of("2", held) < 0.9 * error_of("1", held)
    and np.array_equal(answers("production", held), answers("2", held)),
    saw=lambda: ", ".join(f"{which}: {error_of(which, held):.0f} s off" for which in ("1", "2", "production")),
    hint=[
        "Compare the three numbers: production must be as far off as version 2, and less than version 1.",
        "Usually production still points at version 1, because the last call decides: "
        f"`kubectl get configmap model-{place.user}-production -o yaml` in a terminal shows its path.",
        'Type `point_production_at("2", held)` in a cell, then run this one again.',
    ],
)

# %% [markdown]
# ## 5. Watch it fail
#
# April arrives. The bridge is still closed, the traffic as slow as in March, and version 2 has learned
# how slow that is. Its predictions should fit.
#
# A **monitor** measures it. Every evening the rides of the day are over and their true
# times are known. It asks the service for each of them and divides the true time by the predicted one:
# the median of a healthy day is near 1. The limit is the parameter `alarm`, and it counts when it is
# crossed on two days in a row: one bad day may be the weather. The monitor needs no user who complains;
# it needs two days of rides.

# %%
bring(next_month)
table = spark.read.load(path, "delta")
april = collect(table.where(of(next_month)), recipe)


def watch(which: str, rides: pd.DataFrame) -> pd.Series:
    some = rides.groupby(rides["pickup"].dt.date).head(120)
    ratio = some["duration"] / answers(which, some)
    return ratio.groupby(some["pickup"].dt.date).median()


def first_alarm() -> str:
    seen = watch("2", pd.concat([held, april]))
    twice = (seen > alarm) & (seen.shift() > alarm)
    return str(min(seen[twice].index, default="never"))


# %%
days = watch("2", pd.concat([held, april])).reset_index(name="version 2")
days = days.assign(day=range(1, len(days) + 1), limit=alarm)
show.lines(days, "day", ["version 2", "limit"], f"The alarm: from {first_alarm()} on, rides take longer than predicted",
           unit="true time / predicted time, median of the day")

# %%
check(
    "The monitor raises the alarm in the first days of the next month, and not before",
    lambda: f"{next_month}-01" <= first_alarm() <= f"{next_month}-03",
    saw=lambda: f"the first alarm for version 2: {first_alarm()}",
    hint=[
        "Look at the picture: the line must stay below the limit in the first month, and cross it then.",
        "Usually `alarm` is so near 1.0 that a common day crosses it, or the next month did not arrive: "
        "`print(alarm, len(april))` in a cell shows both.",
        "Type `alarm = 1.12` in a cell, run the cell that begins `bring(next_month)` again, then this one.",
    ],
)

# %% [markdown]
# Why? Ask version 2 for the same rides of April twice: as they are, and with the columns that say
# "March". Nothing else differs.

# %%
def relabelled() -> pd.DataFrame:
    names = {int(month[-2:]): f"month_{int(month[-2:])}" for month in (new_month, next_month)}
    march, now = names.values()
    return april.head(2000).assign(**{march: 1.0, now: 0.0})


def causes() -> dict[str, float]:
    return {"version 1": error_of("1", april.head(2000)), "version 2": error_of("2", april.head(2000)),
            f"version 2, told that it is {new_month}": error_of("2", relabelled())}


shown = pd.DataFrame(causes().items(), columns=["asked", "off"])
show.bars(shown, "asked", "off", f"The rides of {next_month}: version 2 knows a month, not the traffic", unit="seconds off, on average")

# %%
check(
    "The month column is what version 2 has learned",
    lambda: causes()["version 2"] > 0.9 * causes()["version 1"]
    and error_of("2", relabelled()) < 0.9 * causes()["version 2"],
    saw=lambda: ", ".join(f"{what}: {seconds:.0f} s off" for what, seconds in causes().items()),
    hint=[
        "Compare the three bars: version 2 is as bad as version 1, until it is told another month.",
        "Usually `april` holds another month, so that there is nothing to explain: "
        "`april['pickup'].describe()` in a cell shows from when to when.",
        "Run the cells that begin `bring(next_month)` and `def relabelled(` again, then this one.",
    ],
)

# %% [markdown]
# In the training, every slow ride had `month_3 = 1`, and every ride with `month_3 = 1` was slow. For
# the trees, month and traffic were the same thing, and the month was the easier question. In April the
# column is 0, and version 2 predicts the traffic of January. The error on held rides of March could
# not show it: they are of the same month. A column that coincides with the cause in the training, and
# with nothing later, is a **spurious** feature.

# %% [markdown]
# ## 6. Repair the features
#
# The cause is the traffic, so give the model the traffic: the seconds that a mile took, on average,
# in the **last seven days** before the ride. It is known when somebody asks, and it follows the city in
# every month. The month columns are removed.
#
# Train version 3 on the months up to March, and on nothing of April: only then do the rides of April
# show how it does in a month that it has not seen.

# %%
repaired = f"""WITH features AS ({recipe}),
    days AS (SELECT date(pickup) AS day, sum(duration) AS seconds, sum(straight_miles) AS miles
        FROM features GROUP BY ALL),
    recent AS (SELECT today.day, sum(past.seconds) / sum(past.miles) AS recent_pace
        FROM days today JOIN days past ON past.day BETWEEN today.day - 7 AND today.day - 1 GROUP BY ALL)
    SELECT features.*, recent_pace FROM features JOIN recent ON date(pickup) = day"""
start = f"TIMESTAMP '{next_month}-01'"
rides = collect(table, repaired, f"pickup < {start}")
april = collect(table.where(f"tpep_pickup_datetime < {start} + INTERVAL 1 MONTH"), repaired, f"pickup >= {start}")

# %% tags=["blank"]
third_rides = features / f"rides-v{version}-pace.parquet"
months = [name for name in rides if name.startswith("month_")]
# blank: Write the rides to `third_rides`, without the columns in `months`.
# solution
rides.drop(columns=months).to_parquet(third_rides)
# end of solution
# stub: rides.to_parquet(third_rides)
pace = rides.groupby(rides["pickup"].dt.date)["recent_pace"].first().reset_index(name="pace")
pace["day"] = range(1, len(pace) + 1)
show.lines(pace, "day", ["pace"], "The pace of the last seven days follows the city within a week", unit="seconds for a mile")

# %%
def learned() -> pd.DataFrame:
    return pd.read_parquet(third_rides)


check(
    "Version 3 will learn the recent pace, no month, and nothing of the next month",
    lambda: learned()["recent_pace"].notna().all() and not set(months) & set(learned())
    and learned()["pickup"].max() < pd.Timestamp(f"{next_month}-01"),
    saw=lambda: f"{', '.join(learned().columns)}; until {learned()['pickup'].max():%d %B}",
    hint=[
        f"Look at the file {third_rides.name} in the folder features: which columns, until which day?",
        "Usually the month columns are still in it: `pd.read_parquet(third_rides).columns` in a cell.",
        "Run the cells that begin `repaired =` and `third_rides =` again, then this one.",
    ],
)

# %%
arguments = shlex.join([
    f"--rides={third_rides.relative_to(repo)}", f"--table={card['table']}",
    f"--table-version={version}", f"--name={model_name}", "--version=3",
    f"--depth={card['depth']}", f"--seed={card['seed']}",
])

# %%
# %%trainingengineshared --name rides-3 --memory 2Gi --include "{program}" -- {arguments}
import os

print("The record of this job:", os.environ["JOB_RECORD"])

# %%
# the job of version 3
# %logs --follow

# %% [markdown]
# Version 3 asks for another column than version 2. Callers of `production` must therefore send **both**
# before the pointer moves, and may leave the months out after nobody serves version 2 any more: first
# add, then switch, then remove. The engine ignores the features that a model does not know.
#
# Under load: connect version 3, promote it, roll back while nothing is wrong, and promote it again. Test
# a rollback before you need it.

# %%
third_file = models / f"{model_name}-3.json"
register("3", entry(json.loads(third_file.read_text("utf-8"))))
ride, some = april.head(1), april.head(500)
with Crowd(lambda: predict("production", ride).ok) as asking:
    connect_models("1", "2", "3", "production")
    for which in ("3", "2", "3"):
        point_production_at(which, some)
print(f"{asking.asked} asked, {asking.failed} failed")

# %%
after_repair = pd.DataFrame([[f"version {which}", error_of(which, april.head(2000))] for which in "123"],
                            columns=["model", "off"])
show.bars(after_repair, "model", "off", f"Version 3 knows the traffic: the rides of {next_month}", unit="seconds off, on average")

# %%
def april_errors() -> dict[str, float]:
    return {which: error_of(which, april.head(2000)) for which in ("1", "2", "3", "production")}


check(
    "Version 3 holds in the month that it has not seen, is production, and no request failed",
    lambda: april_errors()["3"] < 0.9 * april_errors()["2"]
    and np.array_equal(answers("production", some), answers("3", some))
    and asking.asked > 0 == asking.failed,
    saw=lambda: ", ".join(f"{which}: {seconds:.0f} s off" for which, seconds in april_errors().items())
    + f"; {asking.asked} asked, {asking.failed} failed",
    hint=[
        "Compare the numbers: production must be as far off as version 3, and clearly less than version 2.",
        "Usually the pointer is at version 2, because the last call decides, or the job failed: `kubectl get "
        f"configmap model-{place.user}-production -o yaml` shows the path, `%logs` the job.",
        "Run the cells that begin `%%trainingengineshared --name rides-3`, `# the job of version 3` and "
        "`third_file =` again, then this one.",
    ],
)

# %% [markdown]
# ## 7. Ask which data made which model
#
# A year from now somebody will ask. The registry knows the table version, and the table knows what
# each version was: join them.
#
# A year from now the version must still be there. Delta keeps the log for 30 days and removed files for
# 7, unless the table says otherwise; then `VACUUM` deletes the rows behind version 1. You ask for 400
# days. From then on, Delta refuses to clean up earlier. The price is disk space: the files of all
# versions stay.

# %%
keep = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
wanted = ", ".join(f"'{name}' = 'interval 400 days'" for name in keep)
spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({wanted})")
refused = refusal("to clean up after 30 days", lambda: spark.sql(f"VACUUM delta.`{path}` RETAIN 720 HOURS DRY RUN"))

# %%
def days_kept() -> dict[str, int]:
    properties = spark.sql(f"DESCRIBE DETAIL delta.`{path}`").first().properties
    return {name: int(properties.get(name, "interval 0 days").split()[1]) for name in keep}


check(
    "The table keeps its versions for more than a year",
    lambda: min(days_kept().values()) > 366,
    saw=lambda: ", ".join(f"{name}: {days} days" for name, days in days_kept().items()),
    hint=[
        "Look at the two settings: one for the log, one for the files of earlier versions.",
        f"Usually one of them was not set: `show.files('{path}', rows=60)` in a cell lists what is there, and "
        "`spark.sql(f'DESCRIBE DETAIL delta.`{path}`').first().properties` what the table says.",
        "Run the cell that begins `keep = (` again, then this one.",
    ],
)

# %% [markdown]
# The answer is a table with one row for each registered model: the commit it was trained on, when that
# commit was written, the job that trained it and the program of that job. The last column is measured
# now, on the same rides of April for every row. Because commit and program can still be read, anybody
# can train the model again and compare. That is what *reproducible* means.
#
# Labels may be wrong, so check them. `is_true` computes the digests again, of the model file and of the
# program in the job's record, and compares the times.

# %% tags=["blank"]
def lineage() -> list[list[object]]:
    history = spark.sql(f"DESCRIBE HISTORY delta.`{path}`").collect()
    written = {str(row.version): str(row.timestamp)[:19] for row in history}
    selector = "kubedirector.hpe.com/cmType=model"
    models = k8s.core.list_namespaced_config_map(k8s.namespace, label_selector=selector).items
    return [
        [data["model-version"], data["table-version"], written[data["table-version"]], data["job"],
         data["code-digest"][:12], data["trained-at"], data["registered-at"], is_true(data)]
        for data in (one.data or {} for one in models)
        if data.get("name") == model_name and data.get("table") == card["table"] and "table-version" in data
    ]


def is_true(data: dict) -> bool:
    file = repo / data["path"].removeprefix("repo://project_repo/")
    facts = digest(file), digest(repo / data["job"] / "code.py")
    # blank: Compare `facts` with the two digests in `data`; a model is trained before it is registered.
    # solution
    return facts == (data["model-digest"], data["code-digest"]) and data["trained-at"] <= data["registered-at"]
    # end of solution
    # stub: return False


# %%
titles = ["model", "table version", "data written at", "job", "program", "trained at", "registered at",
          "is true", "seconds off, on the same rides"]
show.table([[*row, round(error_of(row[0], april.head(2000)), 1)] for row in lineage()], columns=titles)

# %%
check(
    "Each model names a version of the table that can still be read",
    lambda: {row[0] for row in lineage() if row[-1]} >= {"1", "2", "3", "production"}
    and all(spark.read.load(path, "delta", versionAsOf=row[1]).count() > 0 for row in lineage()),
    saw=lambda: ", ".join(f"{row[0]} from version {row[1]}, {row[3]}" for row in lineage()),
    hint=[
        "Look which models were found: 1, 2, 3 and production must each name a version, and be true.",
        "Usually a model was registered without `table-version`, or its file was written again since: `kubectl get configmap -l "
        "kubedirector.hpe.com/cmType=model -o yaml` in a terminal shows what each of them says.",
        'Type `register("1", first); register("2", entry(second))` in a cell and run the one that '
        "begins `third_file =` again, then this one.",
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
#   wanted ConfigMaps must be in the list.

# %% [markdown]
# ## Exercise
#
# Would the monitor have stayed quiet with version 3? Count the days of April on which it would have
# raised the alarm, and store the number in `alarms`.
#
# Hint: `watch` takes a version and rides, and gives a number for each day.

# %% tags=["exercise"]
# stub: alarms = None
# solution
alarms = int((watch("3", april) > alarm).sum())
# end of solution
print(alarms)

# %% [markdown]
# ## Recap
#
# - You saw the **drift** in the data, and what it does to the old model.
# - **Version 2** joined version 1 under load; no request failed, no pod was restarted.
# - The **monitor** caught it failing in April, and you found the spurious feature behind it.
# - **Version 3** has repaired features; you promoted it, rolled back, and can name its data.
#
# More: [ParallelChange: add, switch, remove](https://martinfowler.com/bliki/ParallelChange.html),
# [Delta's retention of versions](https://docs.delta.io/3.2.1/delta-batch.html),
# [Hidden Technical Debt in Machine Learning Systems](https://papers.nips.cc/paper/5656-hidden-technical-debt-in-machine-learning-systems).
#
# This is the end of the core workshop. Your service runs, follows its data, and each of its versions can
# be traced to its data and its program.

# %%
quiz(
    "Version 2 was good on rides of March it had never seen. Why did it fail in April?",
    ["A column told the month, and the month coincided with the traffic", "It had too few rides", "The engine was slow"],
    right=0,
    because="Held rides of the same month share the coincidence. Judge a model on a later month.",
)
quiz(
    "Why promote by moving a pointer?",
    ["It is shorter", "It is faster", "Callers change nothing, and the way back is the same move"],
    right=2,
    because="Both versions stay loaded, so rolling back takes a second and no training.",
)
quiz(
    "What proves that nothing was restarted?",
    ["The log is short", "The restart counters and the events", "It felt quick"],
    right=1,
    because="Facts on the platform, not impressions, and anybody can look them up again.",
)

# %% [markdown]
# ## Clean up
#
# The workshop ends here. To remove everything that the labs put on the cluster, type
# `finished = True` in a cell and run this one. The table, the models and your notebook's files stay
# in the project repository. Running it twice is safe.

# %%
for lab in ("core/07", "core/05", "core/02") if finished else ():
    print(lab, remove(k8s, lab) or "nothing left")
print("Removed." if finished else "Kept: your notebook, your engine, and the models it serves.")
