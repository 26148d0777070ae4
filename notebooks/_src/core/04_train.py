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

# %% [markdown]
# ## Setup

# %%
import json

import numpy as np
import pandas as pd
import skops.io

from labhelpers import show, spark as spark_helper
from labhelpers.check import begin, check
from labhelpers.cluster import connect, wait_configured
from labhelpers.data import zones_file
from labhelpers.prerequisite import file_of
from labhelpers.quiz import quiz
from labhelpers.repository import workspace
from labhelpers.settings import settings

# %%
# %load_ext labhelpers.magics
begin("core/04")
place, k8s = settings(), connect()
spark = spark_helper.session("core-04")
repo = place.project_repo
features, models, code = (repo / what / place.user for what in ("features", "models", "code"))
for folder in (features, models, code):
    folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## 1. Pin the data
#
# A table that keeps changing cannot explain a model. You read **one version** of the trips and
# write its number into everything that follows: whoever asks in a year gets the same rows again.

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
# A model learns from numbers. Lab core-03 left most of them ready: where a ride starts and ends,
# how far it is, and when. These are the **features**; what you want to know, the seconds a ride
# takes, is the **target**. A month is no quantity (June is not six times January), so each month
# becomes a column of its own that is 0 or 1.
#
# What is known only after the ride, such as the fare, stays out: at the time of asking nobody has
# it. The borough is kept beside the features, for the pictures later.
#
# The **recipe** is text, and it lies on the project repository beside the code: when the next month
# arrives, its features are made by the same lines.

# %%
names = ["work", "start_latitude", "start_longitude", "end_latitude", "end_longitude",
         "trip_distance", "weekday", "hour"]
columns = [f"double({name}) AS {name}" for name in names]
columns += [f"double(month = {number}) AS month_{number}" for number in range(1, 7)]
names += [f"month_{number}" for number in range(1, 7)]
recipe = f"""SELECT {", ".join(columns)}, double(duration) AS duration, Borough AS borough
    FROM trips JOIN zones ON PULocationID = LocationID"""

# %%
trips.createOrReplaceTempView("trips")
(code / "features.sql").write_text(recipe, "utf-8")
spark.read.csv(str(zones_file()), header=True).createOrReplaceTempView("zones")
rides = spark.sql(recipe)
frame = rides.sample(fraction=min(1.0, sample / rows), seed=seed).toPandas()
feature_file = features / f"rides-v{handed['version']}.parquet"
frame.to_parquet(feature_file)
show.table(frame[["trip_distance", "hour", "duration"]].describe().round(1).reset_index(names="of all"))

# %%
check(
    "Features are numbers, without gaps, and hold nothing from after the ride",
    lambda: pd.read_parquet(feature_file)[names].notna().all().all()
    and not {"fare_amount", "total_amount"} & set(pd.read_parquet(feature_file).columns),
    saw=lambda: f"{len(pd.read_parquet(feature_file)):,} rides, {len(names)} features",
    hint=[
        f"Look at the file {feature_file.name} in the folder features: is it there, what is in it?",
        "Usually a name is spelled in two ways, in `names` and in the recipe, or the file is of an "
        "earlier run: `pd.read_parquet(feature_file).info()` in a cell shows columns and gaps.",
        "Run the cells that begin `names = [` and `trips.createOrReplaceTempView` again.",
    ],
)

# %% [markdown]
# ## 3. Set an honest baseline
#
# Before you call a model good, ask what no model at all would give. Two answers: the same number
# for every ride (the median), and distance divided by the average speed. The **mean absolute
# error** says by how many seconds a prediction is off, on average.

# %%
def baselines(rides: pd.DataFrame) -> pd.Series:
    pace = rides["duration"].sum() / rides["trip_distance"].sum()
    guesses = {"the median for everybody": rides["duration"].median(),
               "distance by average speed": rides["trip_distance"] * pace}
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
        "Look at the two bars: the guess by distance must be the shorter one.",
        "Usually the features are mixed up, so that a distance stands beside another ride's time: "
        "`pd.read_parquet(feature_file).plot.scatter('trip_distance', 'duration')` must show a slope.",
        "Run the cells that begin `names = [` and `trips.createOrReplaceTempView` again.",
    ],
)

# %% [markdown]
# ## 4. Train on the shared cluster
#
# Your kernel is for thinking; training belongs where there is room for it. The training program is
# a file on the project repository, which the training cluster sees too. Read it: scaling and model
# are **one pipeline**, so that whoever gets the model gets the scaler with it. It splits the rides,
# learns on four fifths and judges itself on the last fifth, which it has not seen.

# %%
prepare = '''
"""Train the ride-duration model: features in, a model, a card and test predictions out."""
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import skops.io
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

repo, user = Path(os.environ["PROJECT_REPO"]), os.environ["LAB_USER"]
order = json.loads((repo / "code" / user / "order.json").read_text())
rides = pd.read_parquet(repo / order["features"])
'''

# %%
learn = '''
train, test = train_test_split(rides, test_size=0.2, random_state=order["seed"])
names = order["names"]
trees = HistGradientBoostingRegressor(
    loss="absolute_error", max_depth=order["depth"], random_state=order["seed"]
)
model = make_pipeline(StandardScaler(), trees).fit(train[names], train["duration"])
predicted = model.predict(test[names])
mae = mean_absolute_error(test["duration"], predicted)
print(f"{len(train):,} rides learned; {mae:.0f} s off on {len(test):,} unseen ones")
'''

# %%
keep = '''
folder, name = repo / "models" / user, f"{order['name']}-{order['version']}"
skops.io.dump(model, folder / f"{name}.skops")
test.assign(predicted=predicted).to_parquet(folder / f"{name}-test.parquet")
card = order["about"] | {
    "file": f"{name}.skops", "features": names, "mae": mae, "rows": len(rides),
    "trained_by": user, "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
}
(folder / f"{name}.json").write_text(json.dumps(card, indent=1))
'''

# %% [markdown]
# What changes from one training to the next is the **order**: which features, which seed, which
# version. It is a file too, and part of it goes into the model's card.

# %%
order = {
    "name": model_name, "version": model_version, "names": names, "seed": seed, "depth": depth,
    "features": str(feature_file.relative_to(repo)),
    "about": {"table": handed["path"], "table_version": handed["version"], "baseline_mae": baseline},
}
(code / "train_rides.py").write_text((prepare + learn + keep).lstrip(), "utf-8")
(code / "order.json").write_text(json.dumps(order, indent=1), "utf-8")
shared = wait_configured(k8s, "training-engine-shared")

# %% [markdown]
# `%attachments` lists the training clusters you are connected to. A cell that begins with a cluster's
# name, without its dashes, does not run here: the whole cell is sent there as a **job**. Jobs of
# everybody wait in one queue, and the queue is fair: nobody's hundred jobs go before your first.
# The **History URL** is the job's address, and `%logs --follow` shows what it prints while it runs.

# %%
# %attachments

# %%
# %%trainingengineshared --name rides --memory 2Gi
import os
import runpy

runpy.run_path(f"{os.environ['PROJECT_REPO']}/code/{os.environ['LAB_USER']}/train_rides.py")

# %%
# %logs --follow

# %%
card_file = models / f"{model_name}-{model_version}.json"
check(
    "The job has left a model and a card on the project repository",
    lambda: card_file.is_file()
    and json.loads(card_file.read_text())["table_version"] == handed["version"],
    saw=lambda: f"{json.loads(card_file.read_text())['mae']:.0f} seconds off",
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
# One number hides a lot. Look at when and where the model is off, and whether it errs to one side:
# a **residual** is the true time minus the predicted one.

# %%
def judge() -> pd.DataFrame:
    test = pd.read_parquet(models / f"{model_name}-{model_version}-test.parquet")
    test["residual"] = test["duration"] - test["predicted"]
    return test.assign(off=test["residual"].abs())


card, judged = json.loads(card_file.read_text("utf-8")), judge()
by_hour = judged.groupby("hour", as_index=False)["off"].mean()
show.lines(by_hour, "hour", ["off"], "Harder by day than at night", unit="seconds off, on average")

# %%
by_borough = judged.groupby("borough", as_index=False)["off"].mean().sort_values("off")
show.bars(by_borough, "borough", "off", "Rides from outside Manhattan are harder to guess", unit="seconds off, on average")

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
        "Compare the two numbers: the model's seconds should be about half of the baseline's.",
        "Too good usually means that a feature knows the answer; too bad, that features are mixed up "
        "or the test file is of another run: `print(card)` in a cell shows what the job was given.",
        "Run the cells that begin `%%trainingengineshared`, `%logs --follow` and `def judge(` again.",
    ],
)

# %% [markdown]
# ## 6. Make the classic mistake
#
# The workshop this lab descends from scaled the features for training and forgot the scaler when
# serving. Nothing failed; the predictions were wrong. It is called **train/serve skew**. Do it on
# purpose: take the trees out of the pipeline and feed them raw numbers.
#
# The check that catches it: predictions made where the model is served must equal those made where
# it was trained, row by row. It needs no threshold, and it fails at the first wrong ride.

# %%
def predict(rides: pd.DataFrame, *, scaled: bool) -> np.ndarray:
    path = models / card["file"]
    pipeline = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    rows = rides[card["features"]]
    return pipeline.predict(rows) if scaled else pipeline[-1].predict(rows.to_numpy())


some = judge().head(2000)
ways = {"the whole pipeline": True, "the trees without their scaler": False}
off = [(some["duration"] - predict(some, scaled=is_whole)).abs().mean() for is_whole in ways.values()]
skew = pd.DataFrame({"served": ways.keys(), "seconds off": off})
show.bars(skew, "served", "seconds off", "The same model, served rightly and wrongly", unit="seconds off, on average")

# %%
check(
    "The saved pipeline predicts what the training job predicted",
    lambda: np.allclose(predict(judge(), scaled=True), judge()["predicted"]),
    saw=lambda: " and ".join(
        f"{np.isclose(predict(judge(), scaled=one), judge()['predicted']).mean():.0%} equal {how}"
        for one, how in ((True, "as saved"), (False, "without the scaler"))
    ),
    hint=[
        "Look at the share that is equal as saved: it must be all, not nearly all.",
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
# - You trained a **model** on the shared cluster; its card names its data.
# - You know where it **errs**, and you have seen and caught train/serve skew.
#
# Next: register the model, so that others can find and serve it.

# %%
quiz(
    "Why pin the table's version?",
    ["It is faster", "So that the same rows can be read again later", "Delta demands it"],
    right=1,
    because="Without it nobody can say which data made the model, or train it again.",
)
quiz(
    "Why is the fare not a feature?",
    ["It is unknown when the question is asked", "It is dirty", "It is too large"],
    right=0,
    because="The model would be splendid in this notebook and useless in the service.",
)
quiz(
    "What does a baseline tell you?",
    ["How good a model must be to be worth its keep", "The best possible error", "Nothing"],
    right=0,
    because="A model that does not beat one line of arithmetic is not worth serving.",
)

# %% [markdown]
# ## Clean up
#
# The model, its card and the program stay: the next labs register, serve and retrain them. The
# Spark session ends here.

# %%
spark.stop()
