# %% [markdown]
# # Lab mlflow-06: Search and ensembles on Spark
#
# Search for hyperparameters and combine many models, on all cores, with a record that stays correct after crashes and retries.

# %% [markdown]
# ## What you will build
#
# - Two **searches**, a grid and one by Optuna: each has one parent run and one child for each candidate,
#   also after a crash.
# - A **bag** of models trained by Spark, with a confidence interval of its gain.
# - A **stack** of models made in two ways, of which one has a data leak.
# - A table of **speed-ups**, with the conditions under which it holds.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlflow-01 | Your tracking server keeps the runs | `kubectl get kdcluster` |
# | Two cores | Two models are trained at a time | `nproc` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
experiment: str = "wine ensembles"  # the name that groups the runs
bags: int = 12  # how many models the bag has
trees: int = 120  # boosted trees of each
trials: int = 6  # how many settings Optuna tries
resamples: int = 2000  # how often the test wines are drawn again
seed: int = 7  # the same split and the same bags at every run
master: str = "local[2,3]"  # Spark: two cores, and a task is tried three times
finished: bool = False  # True: the clean-up removes the search's file

# %% [markdown]
# ## Setup

# %%
import hashlib
import json
import logging
import os
import time

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
               "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
import mlflow
import numpy as np
import optuna
import pandas as pd
import xgboost
from mlflow.entities import Metric, Param
from pyspark.ml import evaluation, feature, regression, tuning
from pyspark.taskcontext import TaskContext
from xgboost.spark import SparkXGBRegressor

# %%
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from sklearn.model_selection import ParameterGrid, cross_val_predict, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labhelpers import begin, check, data, fresh, quiz, settings, show, spark_session, workspace
from labhelpers.cluster import caller, cluster_of, connect

# %%
begin("mlflow/06")
for name in ("mlflow", "XGBoost-PySpark"):
    logging.getLogger(name).setLevel(logging.ERROR)
optuna.logging.set_verbosity(optuna.logging.ERROR)
place, k8s, home = settings(), connect(), fresh(workspace("mlflow-06"))
home.mkdir(parents=True)
server = cluster_of("mlflow-01", k8s, f"mlflow-{place.user}")["metadata"]["name"]
http, address = caller(k8s, server, "controller", 5000)
os.environ |= {"MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_TOKEN": http.headers["X-Auth-Token"],
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
mlflow.set_tracking_uri(address)
experiment_id = mlflow.set_experiment(experiment).experiment_id
client = mlflow.MlflowClient()
wines = pd.read_csv(data.datasets() / "wine" / "wine.csv", sep=";").astype(float)
train, test = train_test_split(wines, test_size=0.25, random_state=seed)
X, y, X_test, y_test = train.drop(columns="quality").to_numpy(), train["quality"].to_numpy(), \
    test.drop(columns="quality").to_numpy(), test["quality"].to_numpy()

# %% [markdown]
# ## 1. Search a grid, and log each candidate once
#
# A search trains many candidates. In MLflow the search is a **parent** run and each candidate a **child**.
# When a search crashes and is started again, the usual code logs each candidate a second time. So a
# candidate gets a key, a hash of its settings, and the code first looks for a child with that key. Logging
# twice then has the same effect as logging once: it is **idempotent**.

# %%
def search(name: str) -> str:
    """Begin a search; delete the one that an earlier run of this notebook began."""
    for old in client.search_runs([experiment_id], f"tags.search = '{name}'"):
        below = client.search_runs([experiment_id], f"tags.`mlflow.parentRunId` = '{old.info.run_id}'")
        for run in [*below, old]:
            client.delete_run(run.info.run_id)
    return client.create_run(experiment_id, run_name=name, tags={"search": name}).info.run_id


# %% tags=["blank"]
def child(parent: str, chosen: dict, measured: dict) -> str:
    key = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:12]
    tags = {"mlflow.parentRunId": parent, "candidate": key}
    # blank: Find the runs of this parent that have this key.
    # stub: found = []
    # solution
    query = f"tags.`mlflow.parentRunId` = '{parent}' and tags.candidate = '{key}'"
    found = client.search_runs([experiment_id], query)
    # end of solution
    run_id = (found[0] if found else client.create_run(experiment_id, tags=tags)).info.run_id
    now = int(time.time() * 1000)
    client.log_batch(run_id, [Metric(name, value, now, 0) for name, value in measured.items()],
                     [Param(name, str(value)) for name, value in chosen.items()])
    client.set_terminated(run_id)
    return run_id


# %%
def score(alpha: float, l1_ratio: float) -> float:
    model = make_pipeline(StandardScaler(), ElasticNet(alpha=alpha, l1_ratio=l1_ratio))
    return float(-cross_val_score(model, X, y, cv=3, scoring="neg_root_mean_squared_error").mean())


grid = list(ParameterGrid({"alpha": [0.003, 0.03, 0.3], "l1_ratio": [0.1, 0.9]}))
parent = search("grid")
for count in (4, len(grid)):  # the first round breaks off after four candidates, the second begins again
    for chosen in grid[:count]:
        child(parent, chosen, {"rmse": score(**chosen)})
client.set_terminated(parent)

# %%
def children(parent: str) -> list[dict]:
    body = {"experiment_ids": [experiment_id], "filter": f"tags.`mlflow.parentRunId` = '{parent}'"}
    return http.post(f"{address}/api/2.0/mlflow/runs/search", json=body, timeout=30).json().get("runs", [])


def rmse_of(run: dict) -> float:
    return next(one["value"] for one in run["data"]["metrics"] if one["key"] == "rmse")


# %%
check(
    "The search has one parent and one child for each candidate, although ten were logged",
    lambda: len(children(parent)) == len(grid)
    and len(client.search_runs([experiment_id], "tags.search = 'grid'")) == 1
    and abs(min(map(rmse_of, children(parent))) - min(score(**one) for one in grid)) < 1e-9,
    saw=lambda: f"{len(children(parent))} children for {len(grid)} candidates",
    hint=[
        "Look at the number of children: one for each line of `grid`.",
        "Usually a candidate that was there already was logged again: "
        "`[one['data']['tags'] for one in children(parent)]` in a cell shows their keys.",
        "Run the cells that begin `def child(` and `def score(` again, then this one.",
    ],
)

# %% [markdown]
# MLflow can log a `GridSearchCV` by itself. Its `autolog` then keeps the **five** best children and drops
# the rest, unless you say `max_tuning_runs=None`. Whoever counts children has to know that.
#
# ## 2. Search with Optuna, and resume after a crash
#
# A grid tries what you wrote down. **Optuna** learns from each trial where to try next. Its study lives
# in a file, so it can be resumed. Here the fourth trial crashes at the worst moment: after it logged its
# child run, and before it returned its result to Optuna.

# %%
accident = {"at": 3}


def objective(trial: optuna.Trial) -> float:
    chosen = {"alpha": trial.suggest_float("alpha", 1e-3, 1.0, log=True),
              "l1_ratio": trial.suggest_float("l1_ratio", 0.0, 1.0)}
    found = score(**chosen)
    child(bayes, chosen, {"rmse": found})
    if trial.number == accident["at"]:
        raise ConnectionError("the machine went away")
    return found


# %%
def go_on() -> optuna.Study:
    study = optuna.create_study(storage=f"sqlite:///{home}/optuna.db", study_name=bayes, load_if_exists=True)
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    for lost in study.get_trials(states=[optuna.trial.TrialState.FAIL]):
        study.enqueue_trial(lost.params, skip_if_exists=False)
    study.optimize(objective, n_trials=trials - len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])))
    return study


bayes = search("optuna")
try:
    study = go_on()
except ConnectionError as error:
    print("Broken off:", error)
    study = go_on()
client.set_terminated(bayes)
print(f"{len(study.trials)} trials were begun; best {study.best_value:.4f} with {study.best_params}")

# %% [markdown]
# The second start first repeats the lost trial. Its key is the same, so the child is overwritten, not
# duplicated. The seed depends on the number of trials: a sampler with the old seed would suggest the same
# settings again. Only this notebook writes the file: SQLite is for one writer, and Spark's workers must
# never write into it. For several machines Optuna takes a database server instead.

# %%
def done() -> list[optuna.trial.FrozenTrial]:
    return [one for one in study.trials if one.state.name == "COMPLETE"]


check(
    "After the crash each trial has exactly one child, and the best one is on the server",
    lambda: len(children(bayes)) == len(done()) == trials
    and len(study.trials) == trials + 1
    and abs(min(map(rmse_of, children(bayes))) - study.best_value) < 1e-9,
    saw=lambda: f"{len(study.trials)} trials begun, {len(done())} complete, {len(children(bayes))} children",
    hint=[
        "Look at the three numbers: one more trial was started than completed, and each completed one has one child.",
        "Usually the file of the study was deleted, so that a new study began: "
        f"`ls {home}` in a terminal must show optuna.db.",
        "Run the cells that begin `accident = {` and `def go_on(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Train a bag on Spark
#
# **Bagging** trains the same kind of model on many samples, drawn from the wines with replacement, and
# averages their predictions. The wines that a sample leaves out, about a third, test its model without a
# separate test set: that is the **out-of-bag** error. The models are independent, so they can be trained on
# any worker. `mapInPandas` gives each worker a part of the list of seeds. To test the retry,
# `train_part` fails in the first attempt of the first part, like a worker that is lost. The second number of
# the master, `local[2,3]`, allows three attempts of each task.

# %%
def bag(number: int) -> dict:
    drawn = np.random.default_rng(seed + number).integers(0, len(X), len(X))
    left_out = np.setdiff1d(np.arange(len(X)), drawn)
    model = GradientBoostingRegressor(n_estimators=trees, max_depth=4, random_state=number).fit(X[drawn], y[drawn])
    apart = model.predict(X[left_out]) - y[left_out]
    return {"bag": number, "out_of_bag": float((apart**2).mean() ** 0.5), "answers": model.predict(X_test).tolist()}


def train_part(parts):
    context = TaskContext.get()
    if context.partitionId() == 0 and context.attemptNumber() == 0:
        raise ConnectionError("this worker went away")  # Spark tries the task again
    for part in parts:
        yield pd.DataFrame([bag(number) for number in part["id"]])


# %% tags=["blank"]
spark = spark_session("mlflow-06", conf={"spark.master": os.environ.get("SPARK_MASTER", master)})
spark.sparkContext.setLogLevel("OFF")  # the lost task is meant
shape = "bag long, out_of_bag double, answers array<double>"


def bag_on_spark() -> pd.DataFrame:
    numbers = spark.range(0, bags, 1, 4)
    # blank: Give the numbers to `train_part` with mapInPandas, in the shape above.
    # stub: answers = spark.createDataFrame([], shape)
    # solution
    answers = numbers.mapInPandas(train_part, shape)
    # end of solution
    return answers.toPandas().sort_values("bag", ignore_index=True)


seconds, bagged = {}, {}
for name, work in {"bag, one process": lambda: pd.DataFrame([bag(number) for number in range(bags)]),
                   "bag, Spark's first round": bag_on_spark, "bag, Spark again": bag_on_spark}.items():
    began = time.perf_counter()
    bagged[name] = work()
    seconds[name] = time.perf_counter() - began
alone, answers = bagged["bag, one process"], bagged["bag, Spark again"]

# %% [markdown]
# Workers do not call MLflow. A retried task would log twice, each worker would have to import MLflow, and a
# worker that loses its connection would leave an unfinished run. They **return** their results; the driver
# logs each once, in one request.

# %%
bagging = search("bagging")
for row in answers.itertuples():
    child(bagging, {"bag": row.bag, "trees": trees}, {"rmse": row.out_of_bag})
client.set_terminated(bagging)
each = np.array(answers["answers"].tolist())


def rmse(predictions: np.ndarray, truth: np.ndarray | None = None) -> float:
    return float(np.sqrt(np.mean((predictions - (y_test if truth is None else truth)) ** 2)))


singles = [rmse(one) for one in each]
print(f"single models {np.mean(singles):.4f} on the mean, {min(singles):.4f} the best; the bag {rmse(each.mean(axis=0)):.4f}")

# %%
check(
    "Spark lost a task, and still has the same models as one process; one child for each",
    lambda: list(answers["bag"]) == list(range(bags))
    and np.allclose(answers["out_of_bag"], alone["out_of_bag"])
    and rmse(each.mean(axis=0)) < np.mean(singles)
    and len(children(bagging)) == bags
    and np.allclose(sorted(map(rmse_of, children(bagging))), sorted(alone["out_of_bag"])),
    saw=lambda: f"{len(answers)} models, {len(children(bagging))} children; rmse of the bag {rmse(each.mean(axis=0)):.4f}",
    hint=[
        "Look at the number of models and of children: both are the number of bags.",
        "Usually Spark failed, because its master allows no retry of a task: "
        "`spark.sparkContext.master` in a cell must end in a second number.",
        "Run the cells that begin `def bag(`, `spark = spark_session` and `bagging = search(` again.",
    ],
)

# %% [markdown]
# ## 4. Compute a confidence interval
#
# The bag is better on these 400 wines. Would it be better on others? The **bootstrap** draws the test wines
# many times, with replacement, and computes the error of each draw. The middle 95 % of the results is a
# confidence interval. Two models are compared on the *same* draws, so that easy wines help both equally.

# %% tags=["blank"]
draws = np.random.default_rng(seed).integers(0, len(y_test), (resamples, len(y_test)))
squares = {"single": ((each - y_test) ** 2).mean(axis=0), "bag": (each.mean(axis=0) - y_test) ** 2}
errors = {name: np.sqrt(one[draws].mean(axis=1)) for name, one in squares.items()}
# blank: Let `gain` be the error of single minus that of the bag, for each draw.
# stub: gain = errors["single"] - errors["single"]
# solution
gain = errors["single"] - errors["bag"]
# end of solution
intervals = {name: np.percentile(one, [2.5, 97.5]).round(4).tolist() for name, one in (errors | {"gain": gain}).items()}
with mlflow.start_run(run_id=bagging):
    mlflow.log_dict(intervals, "intervals.json")
show.table([[name, *ends] for name, ends in intervals.items()], columns=["rmse of", "from", "to"])

# %% [markdown]
# The intervals of the two models overlap widely. The interval of the gain does not reach zero: on nearly
# every draw the bag was better. To answer "is A better than B", compute the interval of the difference;
# those of the two models do not answer it.

# %%
def interval(name: str) -> list[float]:
    query = {"run_id": bagging, "path": "intervals.json"}
    return http.get(f"{address}/get-artifact", params=query, timeout=30).json()[name]


check(
    "The two intervals overlap, and that of the gain lies above zero",
    lambda: interval("gain")[0] > 0 and interval("bag")[1] > interval("single")[0]
    and interval("bag")[0] < rmse(each.mean(axis=0)) < interval("bag")[1],
    saw=lambda: f"gain from {interval('gain')[0]} to {interval('gain')[1]}",
    hint=[
        "Look at the line `gain` of the table: both ends are above zero.",
        "Usually the difference was taken between means and not draw by draw: "
        "`gain.shape` in a cell must show the number of draws.",
        "Run the cell that begins `draws = np` again, with `gain = errors['single'] - errors['bag']` in it.",
    ],
)

# %% [markdown]
# ## 5. Stack models without a leak
#
# **Stacking** trains one more model, which learns a weight for each of the others. It must learn from their
# predictions for wines that they have *not* seen: **out-of-fold** predictions. With predictions for their
# own training wines it prefers the model that overfits most. Do both.

# %%
base = {
    "forest": RandomForestRegressor(60, random_state=seed),
    "linear": make_pipeline(StandardScaler(), Ridge()),
    "nearest": make_pipeline(StandardScaler(), KNeighborsRegressor(12, weights="distance")),
}
honest = np.column_stack([cross_val_predict(model, X, y, cv=5) for model in base.values()])
fitted = [model.fit(X, y) for model in base.values()]
leaky = np.column_stack([model.predict(X) for model in fitted])
unseen = np.column_stack([model.predict(X_test) for model in fitted])

# %%
stacking, stacks = search("stacking"), {}
for name, seen in {"out of fold": honest, "leaky": leaky}.items():
    top = LinearRegression().fit(seen, y)
    stacks[name] = {"claimed": rmse(top.predict(seen), y), "rmse": rmse(top.predict(unseen))}
    child(stacking, {"stack": name}, stacks[name])
    print(f"{name:12}", {kind: round(float(weight), 2) for kind, weight in zip(base, top.coef_, strict=True)})
client.set_terminated(stacking)
show.table([[name, *(round(one, 3) for one in both.values())] for name, both in stacks.items()],
           columns=["stack", "error it claims", "error on new wines"])

# %% [markdown]
# The leaky stack claims an error of zero, and puts all its weight on the nearest neighbours: the nearest
# neighbour of a training wine is that wine itself. On new wines it is the worse of the two. You can doubt
# such a claim without a test set: two tasters do not give every wine the same grade, so no model can match
# one of them exactly. **Treat a metric that is too good as a leak** until you have found another reason. The
# error that the out-of-fold stack claims is confirmed on new wines.

# %%
def logged_stacks() -> dict[str, dict[str, float]]:
    runs = [one["data"] for one in children(stacking)]
    return {run["params"][0]["value"]: {one["key"]: one["value"] for one in run["metrics"]} for run in runs}


check(
    "The leaky stack claims the impossible and is worse on new wines",
    lambda: logged_stacks()["leaky"]["claimed"] < 0.01
    and abs(logged_stacks()["out of fold"]["claimed"] / logged_stacks()["out of fold"]["rmse"] - 1) < 0.15
    and logged_stacks()["out of fold"]["rmse"] < logged_stacks()["leaky"]["rmse"],
    saw=lambda: "; ".join(f"{name} claims {one['claimed']:.3f}, is {one['rmse']:.3f}" for name, one in logged_stacks().items()),
    hint=[
        "Look at the two lines of the table: one claims zero, and is the worse one on new wines.",
        "Usually both stacks learned from the same predictions: "
        "`np.abs(honest - leaky).max()` in a cell must be far from zero.",
        "Run the cells that begin `base = {` and `stacking, stacks` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Train one model on several workers, and measure the speed-up
#
# There are two more ways to use several cores. `xgboost.spark` trains **one** model whose data is split
# between workers. Spark's own **CrossValidator** trains many models; `parallelism` says how many at a time,
# and its default is 1. The model that two workers trained is logged as a plain booster, which loads without
# Spark.

# %%
names = [name.replace(" ", "_") for name in wines.columns]  # Spark reads a blank in a name as its end
spread = spark.createDataFrame(train.set_axis(names, axis=1)).repartition(2).cache()
shared = SparkXGBRegressor(features_col=names[:-1], label_col="quality", num_workers=2, n_estimators=60,
                           max_depth=4, random_state=seed, verbose=False).fit(spread)
fresh_wines = spark.createDataFrame(test.set_axis(names, axis=1))
by_spark = shared.transform(fresh_wines).toPandas()["prediction"].to_numpy()
with mlflow.start_run(run_name="xgboost on Spark"):
    info = mlflow.xgboost.log_model(xgb_model=shared.get_booster(), name="model", pip_requirements=["xgboost-cpu"])
    mlflow.log_metric("rmse", rmse(by_spark))
booster = mlflow.xgboost.load_model(info.model_uri)
by_booster = booster.predict(xgboost.DMatrix(X_test, feature_names=booster.feature_names))

# %% tags=["blank"]
vectors = feature.VectorAssembler(inputCols=names[:-1], outputCol="x").transform(spread)
forest = regression.GBTRegressor(featuresCol="x", labelCol="quality", seed=seed, maxIter=4)
options = tuning.ParamGridBuilder().addGrid(forest.maxDepth, [2, 3]).addGrid(forest.stepSize, [0.1, 0.3]).build()
judge, validated = evaluation.RegressionEvaluator(labelCol="quality"), {}
for at_a_time in (1, 2):
    # blank: Name `validator` a CrossValidator with two folds, this seed and `parallelism=at_a_time`.
    # stub: validator = tuning.CrossValidator(numFolds=2, seed=seed + at_a_time)
    # solution
    validator = tuning.CrossValidator(numFolds=2, seed=seed, parallelism=at_a_time)
    # end of solution
    validator.setEstimator(forest).setEvaluator(judge).setEstimatorParamMaps(options)
    began = time.perf_counter()
    validated[at_a_time] = validator.fit(vectors).avgMetrics
    seconds[f"cross-validation, {at_a_time} at a time"] = time.perf_counter() - began

# %%
first = {"bag": "bag, one process", "cross-validation": "cross-validation, 1 at a time"}
speeds = {name: seconds[first[name.split(",")[0]]] / one for name, one in seconds.items()}
show.table([[name, round(seconds[name], 1), f"{speeds[name]:.2f}"] for name in seconds],
           columns=["what", "seconds", "times as fast"],
           caption=f"{os.cpu_count()} cores, {os.getloadavg()[0]:.1f} programs wanted one in the last minute")
with mlflow.start_run(run_name="speed"):
    mlflow.log_metrics({name.replace(",", "").replace("'", ""): one for name, one in speeds.items()})
    mlflow.set_tag("load", f"{os.getloadavg()[0]:.1f}")

# %% [markdown]
# Read the table with its limits. Two idle cores give at most about 1.7; with more programs than cores the
# speed-up falls below 1. Spark's first round starts workers that import the libraries, and the lost task is
# retried: for work of seconds that costs more than it gains. The metrics of the *models* do not depend on
# any of this, and only they are checked.

# %%
check(
    "One model from two workers loads without Spark, and parallelism changes no number",
    lambda: np.allclose(by_spark, by_booster, atol=1e-5) and rmse(by_booster) < float(y_test.std())
    and np.allclose(validated[1], validated[2])
    and len(client.search_runs([experiment_id], "attributes.run_name = 'speed'")[0].data.metrics) == len(seconds) == 5,
    saw=lambda: f"{np.abs(by_spark - by_booster).max():.0e} apart; " + ", ".join(f"{name}: {one:.2f}" for name, one in speeds.items()),
    hint=[
        "Look at the two predictions and at the two lists of cross-validation: each pair is equal.",
        "Usually the two validations were given different folds: "
        "`validated` in a cell shows the mean errors of both.",
        "Run the cells that begin `names = [`, `vectors = feature` and `first = {` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Task … failed 1 times; aborting job`**: Spark on one machine gives up at the first failure. The second
#   number of the master, `local[2,3]`, is how often a task may fail.
# - **`database is locked`**: workers write the same SQLite file. Let them return results; one writer logs.
# - **A search has six candidates and MLflow shows five**: `autolog` keeps the five best.
#   Say `max_tuning_runs=None`.

# %% [markdown]
# ## Exercise
#
# How many models does the bag need? Compute the error of the mean of the first one, two, three … models,
# and store in `enough` the smallest number that is at most 0.002 worse than all of them.
#
# Hint: `each[:count].mean(axis=0)` is the answer of the first `count` models.

# %% tags=["exercise"]
# stub: enough = 0
# solution
curve = [rmse(each[:count].mean(axis=0)) for count in range(1, bags + 1)]
enough = next(count for count, error in enumerate(curve, 1) if error <= curve[-1] + 0.002)
# end of solution
print(enough)

# %% [markdown]
# ## Recap
#
# - Two **searches** were interrupted and resumed; each has one parent, and one child for each candidate.
# - A **bag** was trained by Spark, which lost a task, and equals the one of a single process.
# - A **stack** that learned from training predictions claimed an impossible error; the other one was better.
# - The **speed-ups** are printed with the load under which they were measured.
#
# Read on: [child runs](https://mlflow.org/docs/latest/ml/traditional-ml/tutorials/hyperparameter-tuning/) and
# [XGBoost on Spark](https://xgboost.readthedocs.io/en/stable/tutorials/spark_estimator.html). Next: the
# same use cases at every release of MLflow.

# %%
quiz(
    "A Spark task fails after it has logged its child run. What does your server show?",
    ["Nothing: workers return, the driver logs", "Two children", "A failed parent"],
    right=0,
    because="Whatever Spark tries again, the driver sees each result once and logs it once.",
)
quiz(
    "A stack reports an error of 0.01 on its training wines. What do you do?",
    ["Deploy it", "Ask which predictions it learned from", "Add trees"],
    right=1,
    because="Nothing can be better than the noise in the data; such a number is a leak.",
)
quiz(
    "Two intervals overlap. Are the models equally good?",
    ["Yes", "Yes, if both were drawn 2,000 times", "It does not follow"],
    right=2,
    because="Compare on the same draws: the interval of the difference answers it.",
)

# %% [markdown]
# ## Clean up
#
# The runs stay on the server. The file of the study goes when you type `finished = True` in a cell and run
# this one; running it twice is safe. Spark ends with the notebook.

# %%
print(f"Removed: {fresh(home)}" if finished else f"Kept: the runs on {server}, and the study in {home}.")
