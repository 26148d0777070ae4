# %% [markdown]
# # Lab core-04: Train
#
# Turn the lakehouse's trips into features, train on the shared cluster, and find out how good it is.

# %% [markdown]
# ## What you will build
#
# - A **feature table** from one pinned version of the trips.
# - A **model** that predicts how long a ride takes, trained on the cluster you share with others.
# - **Pictures** of where it errs, and a check that catches the mistake most services are built with.
#
# ![The pinned table version becomes features, a job on the training cluster turns them into a model
# and a card, both on the project repository.](../../Pictures/core-04-train.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-03 | The clean trips table and its version | `trips.json`, its last step writes it |
# | The shared training cluster | It runs your job | `kubectl get kdcluster training-engine-shared` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
model_name: str = "ride-duration"  # what the service will be called
model_version: str = "1"  # tells this model from later ones
sample: int = 60_000  # rides to learn from, at most
depth: int = 6  # how many questions a tree may ask
seed: int = 0  # the same split at every run
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup

# %%
import hashlib
import json
import shlex

import numpy as np
import pandas as pd
import skops.io

from labhelpers import begin, check, file_of, quiz, settings, show, spark_session, workspace
from labhelpers.cluster import connect, wait_configured
from labhelpers.data import zones_file

# %%
# %load_ext labhelpers.magics
begin("core/04")
place, k8s = settings(), connect()
spark = spark_session("core-04")
repo = place.project_repo
features, models, code = (repo / what / place.user for what in ("features", "models", "code"))
for folder in (features, models, code):
    folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## 1. Pin the data
#
# A table that keeps changing cannot explain a model. You read **one version** of the trips and
# write its number into everything that follows, so the same rows can be read again. How long the
# table keeps old versions is a setting; lab core-07 sets it to more than a year.

# %%
handed = json.loads(file_of("core-03", workspace("lakehouse") / "trips.json").read_text("utf-8"))
reader = spark.read.format("delta").option("versionAsOf", handed["version"])
trips = reader.load(str(repo / handed["path"]))
rows = trips.count()
print(f"{rows:,} trips in version {handed['version']} of {handed['path']}")

# %%
check(
    "The pinned version is readable and is what lab core-03 handed on",
    lambda: reader.load(str(repo / handed["path"])).count() == handed["rows"],
    saw=lambda: f"{rows:,} rows in version {handed['version']}",
    hint=[
        "Look at trips.json, which lab core-03 wrote beside the table: its version, its rows.",
        "Usually the table was made anew since, or VACUUM removed the version's files: "
        f"`ls {repo / handed['path']}/_delta_log` in a terminal lists the versions there are.",
        "Run the cell that begins `handed = json.loads(` again, then this one. If it fails still, run "
        "lab core-03 again to its end.",
    ],
)

# %% [markdown]
# ## 2. Make features
#
# A model learns from numbers. Lab core-03 left most of them ready: where a ride starts and ends, and
# when. These are the **features**; what you want to know, the seconds a ride takes, is the **target**.
# A month is no quantity (June is not six times January), so each month becomes a column of its own
# that is 0 or 1.
#
# A feature must be known when somebody asks, and they ask **before** the ride. The fare is not known
# then, and neither is `trip_distance`: the meter counts the miles as the taxi drives them. Known are
# the two places, so you compute the **straight line** between the centres of their zones. A degree of
# latitude is 69 miles; a degree of longitude, in New York, is 52.4.
#
# Borough and time of pick-up are kept beside the features, to judge the model by place and by time.
#
# The **recipe** is text, and it lies on the project repository beside the code: when the next month
# arrives, its features are made by the same lines. It is the only place that lists them: the model
# file keeps the columns it learned from, and everybody after it asks the model.

# %% tags=["blank"]
names = ["work", "start_latitude", "start_longitude", "end_latitude", "end_longitude", "weekday", "hour"]
columns = [f"double({name}) AS {name}" for name in names]
columns += [f"double(month = {number}) AS month_{number}" for number in range(1, 13)]
# blank: Add `straight_miles`: SQL's `hypot` of the miles north and the miles east, from start to end.
# solution
columns += ["hypot(69.0 * (end_latitude - start_latitude), 52.4 * (end_longitude - start_longitude))"
            " AS straight_miles"]
# end of solution
# stub: columns += []
recipe = f"""SELECT {", ".join(columns)}, double(duration) AS duration,
        Borough AS borough, tpep_pickup_datetime AS pickup
    FROM trips JOIN zones ON PULocationID = LocationID"""

# %%
trips.createOrReplaceTempView("trips")
(code / "features.sql").write_text(recipe, "utf-8")
spark.read.csv(str(zones_file()), header=True).createOrReplaceTempView("zones")
rides = spark.sql(recipe)
frame = rides.sample(fraction=min(1.0, sample / rows), seed=seed).toPandas()
feature_file = features / f"rides-v{handed['version']}.parquet"
frame.to_parquet(feature_file)
shown = frame.drop(columns=["borough", "pickup"]).describe().T[["min", "mean", "max"]].round(2)
show.table(shown.reset_index(names="column"), f"{len(frame):,} rides", rows=30)

# %% [markdown]
# A list of forbidden names would miss a column that was renamed. The checkpoint asks the recipe
# itself: it is run on trips of which all that the ride brings is empty, and every feature must come
# out as before. One that does not has looked at the ride: it is a **leak**.

# %%
known = ["tpep_pickup_datetime", "PULocationID", "DOLocationID", *names, "month"]


def leaks() -> list[str]:
    kept = [name if name in known else f"CAST(NULL AS {kind}) AS {name}" for name, kind in trips.dtypes]
    ways = [recipe, f"WITH trips AS (SELECT {', '.join(kept)} FROM trips) {recipe}"]
    made = [spark.sql(way).drop("duration", "borough", "pickup") for way in ways]
    means = [one.groupBy().avg().toPandas().iloc[0].astype(float) for one in made]
    return [name for name, *pair in zip(made[0].columns, *means, strict=True) if not np.isclose(*pair)]


print("Features that look at the ride:", leaks() or "none")

# %%
def is_recipe(rides: pd.DataFrame) -> bool:
    north, east = (rides[f"end_{way}"] - rides[f"start_{way}"] for way in ("latitude", "longitude"))
    is_straight = np.allclose(rides["straight_miles"], np.hypot(69.0 * north, 52.4 * east))
    return is_straight and list(rides) == spark.sql(recipe).columns and {*names, "month_12"} < set(rides)


check(
    "Features are numbers, without gaps, and hold nothing from after the ride",
    lambda: is_recipe(pd.read_parquet(feature_file).dropna()) and not leaks()
    and pd.read_parquet(feature_file).notna().all().all(),
    saw=lambda: "{:,} rides, {} columns".format(*pd.read_parquet(feature_file).shape)
    + f"; after the ride: {', '.join(leaks()) or 'none'}",
    hint=[
        f"Look at the file {feature_file.name} in the folder features: is it there, what is in it?",
        "Usually a feature uses a column that is known after the ride, or the file is of an earlier "
        "run: `leaks()` in a cell names the features, `pd.read_parquet(feature_file).info()` the columns.",
        "Run the cells that begin `names = [` and `trips.createOrReplaceTempView` again.",
    ],
)

# %% [markdown]
# ## 3. Set an honest baseline
#
# Before you call a model good, ask what no model at all would give. Two answers: the same number
# for every ride (the median), and a rule of thumb, so many seconds to begin with and so many for each
# mile. The **mean absolute error** says by how many seconds a prediction is off, on average.

# %% tags=["blank"]
def baselines(rides: pd.DataFrame) -> pd.Series:
    # blank: Fit a line with `np.polyfit`, seconds by `straight_miles`; read it with `np.polyval`.
    # stub: rule = 0.0
    # solution
    line = np.polyfit(rides["straight_miles"], rides["duration"], deg=1)
    rule = np.polyval(line, rides["straight_miles"])
    # end of solution
    guesses = {"the median for everybody": rides["duration"].median(), "a rule of thumb": rule}
    return pd.Series({name: (rides["duration"] - guess).abs().mean() for name, guess in guesses.items()})


baseline = float(baselines(frame).min())
show.bars(baselines(frame).reset_index(name="seconds off"), "index", "seconds off", "What no model at all would give", unit="seconds off, on average")

# %%
check(
    "The baseline knows that longer rides take longer",
    lambda: baselines(pd.read_parquet(feature_file)).is_monotonic_decreasing,
    saw=lambda: ", ".join(
        f"{name} is {seconds:.0f} s off"
        for name, seconds in baselines(pd.read_parquet(feature_file)).items()
    ),
    hint=[
        "Look at the two bars: the rule of thumb must be the shorter one.",
        "Usually the features are mixed up, so that a distance stands beside another ride's time: "
        "`pd.read_parquet(feature_file).plot.scatter('straight_miles', 'duration')` must show a slope.",
        "Run the cells that begin `names = [` and `trips.createOrReplaceTempView` again.",
    ],
)

# %% [markdown]
# ## 4. Train on the shared cluster
#
# The training runs on the shared cluster, which has more room than your kernel. The training program
# is a file on the project repository, which the training cluster sees too. Read it. It splits the rides
# at random, learns on four fifths, and measures the model and the rule of thumb on the last fifth,
# which neither has seen.
#
# A random split is too optimistic: for each ride in the test set there are others of the same hour in the
# training set.
# A service only ever predicts rides that come **later**. So the program also trains on the earlier
# four fifths and judges that model on the later fifth.
#
# The model is made of decision trees. A tree asks "is this number below 7?", which has the same answer
# in miles and in millimetres, so nothing has to be scaled.

# %%
imports = '''
"""Train the ride-duration model: features in; a model, its card and test predictions out."""
import argparse
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
'''

# %%
prepare = '''
parser = argparse.ArgumentParser()
for name in ("rides", "table", "name", "version"):
    parser.add_argument(f"--{name}", required=True)
for name in ("table-version", "depth", "seed"):
    parser.add_argument(f"--{name}", type=int, required=True)
given = parser.parse_args()
repo, user = Path(os.environ["PROJECT_REPO"]), os.environ["JOB_USER"]
'''

# %%
fit = '''
def fit(given, rides):
    trees = HistGradientBoostingRegressor(
        loss="absolute_error", max_depth=given.depth, random_state=given.seed
    )
    return trees.fit(rides.drop(columns=["duration", "borough", "pickup"]), rides["duration"])


def predicted(model, rides):
    return rides.assign(predicted=model.predict(rides[model.feature_names_in_]))


def error_of(judged):
    return mean_absolute_error(judged["duration"], judged["predicted"])
'''

# %%
learn = '''
def learn(given):
    rides = pd.read_parquet(repo / given.rides)
    train, test = train_test_split(rides, test_size=0.2, random_state=given.seed)
    model = fit(given, train)
    test = predicted(model, test)
    ordered = rides.sort_values("pickup")
    earlier, later = ordered.iloc[:len(train)], ordered.iloc[len(train):]
    line = np.polyfit(train["straight_miles"], train["duration"], deg=1)
    scores = {
        "mae": error_of(test), "rows": len(rides),
        "mae_by_time": error_of(predicted(fit(given, earlier), later)),
        "baseline_mae": error_of(test.assign(predicted=np.polyval(line, test["straight_miles"]))),
    }
    print(f"{len(train):,} rides learned;", scores)
    return model, test, scores
'''

# %% [markdown]
# The model's **card** is its lineage: the data by table and version, the arguments, the digest of the
# model file, and the **job**. `JOB_RECORD` is the job's folder on the project repository: it holds
# the program that ran, `code.py`, and the record `job.json` with its digest, its arguments, who asked
# and when.

# %%
keep = '''
def keep(given, model, test, scores):
    folder, name = repo / "models" / user, f"{given.name}-{given.version}"
    file = folder / f"{name}.skops"
    skops.io.dump(model, file)
    test.to_parquet(folder / f"{name}-test.parquet")
    card = vars(given) | scores | {
        "file": file.name, "model_digest": hashlib.sha256(file.read_bytes()).hexdigest(),
        "job": os.environ["JOB_RECORD"], "code_digest": os.environ["JOB_CODE_DIGEST"],
        "trained_by": user, "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / f"{name}.json").write_text(json.dumps(card, indent=1))


keep(given, *learn(given))
'''

# %% [markdown]
# What changes from one training to the next are its **arguments**: which rides, which version, which
# seed. They travel with the job. In a file beside the program they would be shared: two jobs that
# wait in the queue would both read whatever was written last.

# %%
program = code / "train_rides.py"
program.write_text((imports + prepare + fit + learn + keep).lstrip(), "utf-8")
arguments = shlex.join([
    f"--rides={feature_file.relative_to(repo)}", f"--table={handed['path']}",
    f"--table-version={handed['version']}", f"--name={model_name}",
    f"--version={model_version}", f"--depth={depth}", f"--seed={seed}",
])
shared = wait_configured(k8s, "training-engine-shared")

# %% [markdown]
# `%attachments` lists the training clusters you are connected to. A cell that begins with a cluster's
# name, without its dashes, does not run here: the whole cell is sent there as a **job**. `--include`
# puts the program before the cell's own lines, and what follows `--` are its arguments; the names in
# braces are variables of this notebook. Jobs of everybody wait in one queue, and the queue is fair:
# nobody's hundred jobs go before your first. The **History URL** is the job's address, and
# `%logs --follow` shows what it prints while it runs.
#
# This training needs no GPU. A role of a kdcluster asks for one in its resources, with
# `nvidia.com/gpu: "1"` among the limits, and its pod runs on a node that offers one. The sandbox's node
# offers none: there such a pod stays `Pending`, with the reason `Insufficient nvidia.com/gpu`.

# %%
# %attachments

# %%
# %%trainingengineshared --name rides --memory 2Gi --include "{program}" -- {arguments}
import os

print("The record of this job:", os.environ["JOB_RECORD"])

# %%
# %logs --follow

# %%
def read_card() -> dict:
    card = json.loads(card_file.read_text("utf-8"))
    program = (repo / card["job"] / "code.py").read_bytes()
    return card | {"is_traced": card["code_digest"] == hashlib.sha256(program).hexdigest()}


card_file = models / f"{model_name}-{model_version}.json"
check(
    "The job has left a model and a card on the project repository",
    lambda: read_card()["table_version"] == handed["version"] and read_card()["is_traced"],
    saw=lambda: "{mae:.0f} seconds off; {job} holds the program it ran".format(**read_card()),
    hint=[
        "Look at the Job Status: Queued waits for its turn, Failed says why in the lines below it.",
        "Usually the job ran out of memory, or its worker was killed: `%logs` in a cell of its own "
        "shows the reason and all that the job printed.",
        "Run the cells that begin `%%trainingengineshared` and `%logs --follow` again: a failed job "
        "has left nothing that is in the way.",
    ],
)

# %% [markdown]
# ## 5. Look at its errors
#
# One number does not show where a model fails. First compare the two ways of splitting the rides: if the
# error on later rides were much larger than on rides picked at random, the city would be changing.
# Here the two are alike, because both months are alike. Lab core-07 shows a month that is not.

# %%
card = read_card()
scores = {"a rule of thumb": "baseline_mae", "the model, rides picked at random": "mae",
          "the model, the later rides": "mae_by_time"}
split = pd.DataFrame([[what, card[score]] for what, score in scores.items()], columns=["judged", "off"])
show.bars(split, "judged", "off", "The model beats the rule of thumb, on later rides too", unit="seconds off, on average")

# %% [markdown]
# Then look at when and where the model is off, and whether it errs to one side: a **residual** is the
# true time minus the predicted one. A bar is only as good as the rides behind it, so their number
# is shown beside the name; bars of fewer than 30 rides are grey.

# %% tags=["blank"]
def judge() -> pd.DataFrame:
    test = pd.read_parquet(models / f"{model_name}-{model_version}-test.parquet")
    # blank: Set the residual of each ride: its true `duration` minus what was `predicted`.
    # stub: test["residual"] = 0.0
    # solution
    test["residual"] = test["duration"] - test["predicted"]
    # end of solution
    return test.assign(off=test["residual"].abs())


judged = judge()
by_hour = judged.groupby("hour", as_index=False)["off"].mean()
show.lines(by_hour, "hour", ["off"], "Harder by day than at night", unit="seconds off, on average")

# %%
by_borough = judged.groupby("borough")["off"].agg(["mean", "size"]).sort_values("mean").reset_index()
by_borough["from"] = [f"{row.borough}: {row.size:,} rides" for row in by_borough.itertuples()]
few = set(by_borough[by_borough["size"] < 30]["from"])
show.bars(by_borough, "from", "mean", "Rides from outside Manhattan are harder to guess",
          unit="seconds off, on average", highlight=lambda name: name not in few)

# %%
minutes = judged["residual"].div(60).clip(-15, 15)
axes = minutes.plot.hist(bins=60, title="Most rides end within a few minutes of the prediction")
axes.set(xlabel="minutes later than predicted; the outermost bars hold all beyond", ylabel="rides");

# %%
check(
    "The model is clearly better than the baseline, and not too good to be true",
    lambda: 0.15 * baseline < judge()["off"].mean() < 0.9 * baseline,
    saw=lambda: f"{judge()['off'].mean():.0f} s off on unseen rides, the baseline {baseline:.0f} s",
    hint=[
        "Compare the two numbers: the model's seconds should be about two thirds of the baseline's.",
        "Too good usually means that a feature knows the answer; too bad, that features are mixed up "
        "or the test file is of another run: `print(card)` in a cell shows the job's arguments.",
        "Run the cells that begin `%%trainingengineshared`, `%logs --follow` and `def judge(` again.",
    ],
)

# %% [markdown]
# ## 6. Make the classic mistake
#
# The model file holds the trees, and nothing of what was done before them. Whoever asks must prepare
# a ride as the recipe did, and nothing fails if they forget a step; only the predictions are wrong. It
# is called **train/serve skew**. Make it on purpose, with the step that real services forget most: the
# table has New York's clock, a server has UTC. A ride asked for at five in the afternoon is one at
# ten in the evening there, and the streets are empty.
#
# The check that catches it: predictions made where the model is served must equal those made where
# it was trained, row by row. It needs no threshold, and it fails at the first wrong ride.
#
# A skops file names the types it is made of. Those that skops does not know are loaded only when you
# **name** them: `trusted` is your list of what this model may hold, never a copy of what it holds.

# %%
trusted = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]


def asked() -> pd.DataFrame:
    rides = judge()  # a server's clock: UTC; an hour that the change of clocks skips or repeats is left out
    clock = rides["pickup"].dt.tz_localize("America/New_York", ambiguous="NaT", nonexistent="NaT")
    return rides.assign(asked=clock.dt.tz_convert("UTC")).dropna()


# %% tags=["blank"]
def predict(rides: pd.DataFrame, *, prepared: bool) -> np.ndarray:
    model = skops.io.load(models / card["file"], trusted=trusted)
    clock = rides["asked"]
    if prepared:
        # blank: Convert `clock`, which is UTC, to the time zone of New York: `clock.dt.tz_convert(…)`.
        # solution
        clock = clock.dt.tz_convert("America/New_York")
        # end of solution
        # stub: pass
    weekday, hour = clock.dt.dayofweek < 5, clock.dt.hour
    times = {"weekday": weekday, "hour": hour, "work": weekday & hour.between(8, 17)}
    return model.predict(rides.assign(**times)[model.feature_names_in_].astype(float))


some = asked().head(2000)
ways = {"New York's clock": True, "the server's clock": False}
off = [(some["duration"] - predict(some, prepared=is_so)).abs().mean() for is_so in ways.values()]
skew = pd.DataFrame({"served": ways.keys(), "seconds off": off})
show.bars(skew, "served", "seconds off", "The same model and rides, with a step and without", unit="seconds off, on average")

# %%
check(
    "The saved model predicts what the training job predicted",
    lambda: np.allclose(predict(asked(), prepared=True), asked()["predicted"]),
    saw=lambda: " and ".join(
        f"{np.isclose(predict(asked(), prepared=one), asked()['predicted']).mean():.0%} equal by {how}"
        for how, one in ways.items()
    ),
    hint=[
        "Look at the share that is equal by New York's clock: it must be all, not nearly all.",
        "Usually the model file and the test file are of different runs: "
        f"`ls -l {models}` in a terminal must show them written in the same moment.",
        "Run the cells that begin `%%trainingengineshared` and `%logs --follow` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`HTTP/1.1 401 Unauthorized`** from the training cluster: the password was wrong. Run the cell
#   again; it asks once more.
# - **`The job took … MiB of memory; its limit is …`**: lower `sample`, or ask for more with
#   `--memory 3Gi` in the first line of the cell that you send.
# - **`Worker … ended`**: the training engine was killed while your job ran. The job has failed and
#   left nothing behind: send it again. A job sent with `--rerun` is started again by itself.

# %% [markdown]
# ## Exercise
#
# Where is the model most biased, not most wrong? Find the hour with the largest mean residual (late
# on average) and store it in `latest_hour`.
#
# Hint: `groupby`, then `idxmax`.

# %% tags=["exercise"]
# stub: latest_hour = None
# solution
latest_hour = int(judged.groupby("hour")["residual"].mean().idxmax())
# end of solution
print(latest_hour)

# %% [markdown]
# ## Recap
#
# - You made **features** from one pinned table version, and kept the answer out of them.
# - You trained a **model** on the shared cluster; its card names its data and the job that made it.
# - You know where it **errs**, by place and on later rides, and you have caught train/serve skew.
#
# More: [common pitfalls, by scikit-learn](https://scikit-learn.org/stable/common_pitfalls.html),
# [gradient boosting with histograms](https://scikit-learn.org/stable/modules/ensemble.html),
# [train/serve skew in the Rules of Machine Learning](https://developers.google.com/machine-learning/guides/rules-of-ml).
#
# Next: register the model, so that others can find and serve it.

# %%
quiz(
    "Why pin the table's version?",
    ["So that the same rows can be read again later", "It is faster", "Delta demands it"],
    right=0,
    because="Without it nobody can say which data made the model, or train it again.",
)
quiz(
    "Why is `trip_distance` not a feature?",
    ["It is dirty", "It is unknown when the question is asked", "It is too large"],
    right=1,
    because="The meter counts it during the ride; the service would have to ask for what nobody knows.",
)
quiz(
    "What does a baseline tell you?",
    ["The best possible error", "Nothing", "How good a model must be to be worth serving"],
    right=2,
    because="A model that does not beat one line of arithmetic is not worth serving.",
)

# %% [markdown]
# ## Clean up
#
# The model, its card and the program stay: the next labs register, serve and retrain them. The
# Spark session ends with this notebook's kernel, or when you type `finished = True` in a cell and run
# this one.

# %%
if finished:
    spark.stop()
