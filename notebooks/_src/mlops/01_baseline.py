# %% [markdown]
# # Lab mlops-01: Baseline
#
# Train a first model for loans, measure it on held-out data, and tag the snapshot that it was trained on.

# %% [markdown]
# ## What you will build
#
# - An **Iceberg table** of two years of loans, and its first snapshot.
# - A **Spark ML pipeline** that predicts which loans will be charged off, saved and loaded again.
# - A **ROC curve**, a **precision-recall curve** and a **confusion matrix** of held-out loans.
# - A **tag** on the training snapshot: months later you can read the same rows again.
#
# The eight labs of this workshop belong together. A change by one team breaks the pipeline of another
# team, the endpoint keeps answering, and you repair the pipeline with the tag that you set here.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | The environment of the labs | Spark, Iceberg and Java come with it | `labs doctor` |
# | 1 GB of free memory | One Spark driver runs in this notebook | `free -h` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
rows: int = 12_000  # how many loans the two years have
seed: int = 7  # the same seed makes the same loans
threshold: float = 0.25  # refuse a loan whose chance of a charge-off is above this
finished: bool = False  # True: the clean-up stops Spark, which the next labs start again

# %% [markdown]
# ## Setup
#
# The session has a catalogue named `ice`. Its tables are **Iceberg** tables: data files, and
# metadata that list which files belong to which **snapshot** of the table.

# %%
import json

import pandas as pd
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F
from sklearn.metrics import precision_recall_curve, roc_curve

from labhelpers import begin, check, data, quiz, refusal, show, spark_session, workspace

begin("mlops/01")
spark = spark_session("mlops")
home = workspace("mlops")
table = "ice.mlops.loans"

# %% [markdown]
# ## 1. Load the loans
#
# The loans are synthetic, with the columns of LendingClub's public files. So the true probability of
# each charge-off is known, and with it the best AUC that any model can reach. A model with a higher
# AUC has a leak: its features contain information about the outcome.

# %%
loans, truth = data.make_loans(rows, seed)
spark.sql("CREATE NAMESPACE IF NOT EXISTS ice.mlops")
spark.sql(f"DROP TABLE IF EXISTS {table} PURGE")
spark.createDataFrame(loans).writeTo(table).create()
show.table(loans.head(4))


def snapshots() -> pd.DataFrame:
    return spark.sql(f"SELECT snapshot_id, operation FROM {table}.snapshots ORDER BY committed_at").toPandas()


show.table(snapshots().astype(str), "The table's history: one snapshot")

# %%
def counted() -> tuple[int, int]:
    found = spark.table(table)
    return found.count(), found.select("loan_id").distinct().count()


check(
    "The table has each loan once",
    lambda: counted() == (rows, rows) and "append" in set(snapshots()["operation"]),
    saw=lambda: "{:,} rows, {:,} different loans".format(*counted()),
    hint=[
        "Look at the two numbers: both must equal the parameter `rows`.",
        "Usually the cell was interrupted, or `rows` was changed after it ran: "
        f"`spark.table('{table}').count()` in a cell shows what is there.",
        "Run the cell that begins `loans, truth = data` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Explore the data
#
# About every fifth loan was **charged off**: the bank no longer expects its money back. Three columns
# are texts: term, home ownership and purpose. The first model uses numbers only. In lab mlops-05 the
# risk team asks for the texts because of this picture.

# %% tags=["blank"]
labelled = spark.table(table).withColumn("bad", (F.col("loan_status") == "Charged Off").cast("double"))
# blank: Let `by_purpose` hold the share of bad loans of each purpose, the largest first, as pandas.
# stub: by_purpose = pd.DataFrame({"purpose": ["?"], "charged off": [0.0]})
# solution
shares = labelled.groupBy("purpose").agg(F.avg("bad").alias("charged off"))
by_purpose = shares.orderBy(F.desc("charged off")).toPandas()
# end of solution
show.bars(by_purpose, "purpose", "charged off", "Small businesses fail most often")

# %%
def spread(column: str) -> float:
    found = spark.table(table).groupBy(column).agg(F.avg((F.col("loan_status") == "Charged Off").cast("int")))
    shares = [row[1] for row in found.collect()]
    return max(shares) - min(shares)


check(
    "The share of bad loans depends on the purpose, and your picture agrees with the table",
    lambda: abs(by_purpose["charged off"].agg(lambda bars: bars.max() - bars.min()) - spread("purpose")) < 1e-9,
    saw=lambda: f"purposes differ by {spread('purpose'):.0%}, terms by {spread('term'):.0%}",
    hint=[
        "Look at the bars: each purpose once, with the share of its loans that are bad.",
        "Usually the count was taken instead of the mean, or `by_purpose` has other columns: "
        "`by_purpose.columns` in a cell shows them.",
        "Run the cell that begins `labelled = spark` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Fit and save a pipeline
#
# A **pipeline** is a list of stages that is fitted as one and saved as one: an assembler that puts
# columns into a vector, a scaler, a logistic regression. `handleInvalid="error"` makes the assembler
# raise an error at a missing value. About 30 % of the loans are held out for the evaluation. A hash of
# `loan_id` decides, so every run makes the same split.

# %%
numbers = ["funded_amnt", "annual_inc", "avg_cur_bal", "acc_open_past_24mths", "acc_now_delinq"]
is_held = F.abs(F.hash("loan_id")) % 10 >= 7
train, held = labelled.where(~is_held).cache(), labelled.where(is_held).cache()
print(f"{train.count():,} loans to train on, {held.count():,} held out")

# %% tags=["blank"]
assembler = VectorAssembler(inputCols=numbers, outputCol="raw", handleInvalid="error")
scaler = StandardScaler(inputCol="raw", outputCol="features", withMean=True)
regression = LogisticRegression(labelCol="bad", maxIter=50)
# blank: Let `model` be a Pipeline of the three stages, fitted to `train`.
# stub: model = Pipeline(stages=[assembler, scaler])
# solution
model = Pipeline(stages=[assembler, scaler, regression]).fit(train)
# end of solution
model.write().overwrite().save(str(home / "baseline"))

# %% [markdown]
# The **AUC** is the chance that the model gives a bad loan a higher score than a good one: 0.5 is
# guessing. You evaluate the saved files, not the object in memory, because the next labs load them.

# %%
def auc_of(path: str) -> float:
    scored = PipelineModel.load(path).transform(held)
    return BinaryClassificationEvaluator(labelCol="bad").evaluate(scored)


best = truth.best["auc"]
scores = {"your model": auc_of(str(home / "baseline")), "best possible": best, "guessing": 0.5}
show.bars(pd.DataFrame(scores.items(), columns=["model", "AUC"]), "model", "AUC",
          "Five numbers leave a gap to the best possible model", highlight=lambda name: name == "your model")

# %%
check(
    "The saved model is better than guessing, and not better than possible",
    lambda: 0.6 < auc_of(str(home / "baseline")) < best + 0.01,
    saw=lambda: f"AUC {auc_of(str(home / 'baseline')):.3f}; the best possible is {best:.3f}",
    hint=[
        "Look at the bars: yours must be between guessing and the best possible.",
        "Usually the pipeline has no model at its end, or it was not saved: "
        f"`ls {home / 'baseline' / 'stages'}` in a terminal lists its stages.",
        "Run the cell that begins `assembler = Vector` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Read the curves
#
# The AUC averages over all thresholds. The **ROC curve** shows for each threshold the share of bad
# loans that you refuse (the true positive rate) against the share of good loans that you refuse with
# them (the false positive rate). **Precision** is the share of refused loans that are bad, **recall**
# the share of bad loans that are refused.

# %%
chance = vector_to_array("probability")[1].alias("chance")
scored = PipelineModel.load(str(home / "baseline")).transform(held).select("loan_id", "bad", chance).toPandas()
refused_good, caught, _ = roc_curve(scored["bad"], scored["chance"])
roc = pd.DataFrame({"good loans refused": refused_good, "bad loans caught": caught})
show.lines(roc.iloc[:: max(1, len(roc) // 60)], "good loans refused", ["bad loans caught"],
           "ROC: to catch most bad loans costs many good ones", unit="share caught")

# %%
precision, recall, _ = precision_recall_curve(scored["bad"], scored["chance"])
both = pd.DataFrame({"recall": recall[::-1], "precision": precision[::-1]}).iloc[20:]
show.lines(both.iloc[:: max(1, len(both) // 60)], "recall", ["precision"],
           "Precision falls as you catch more bad loans", unit="precision")

# %% [markdown]
# A **confusion matrix** counts the four outcomes at one threshold. The threshold is a business
# decision: a bad loan costs far more than a refused good loan would have earned.

# %% tags=["blank"]
bad, is_refused = scored["bad"] > 0, scored["chance"] > threshold
# blank: Let `matrix` be a table of counts: `bad` downwards, `is_refused` across.
# stub: matrix = pd.DataFrame()
# solution
matrix = pd.crosstab(bad, is_refused)
# end of solution
shown = matrix.reindex(index=[False, True], columns=[False, True], fill_value=0)
show.table([["paid back", *shown.loc[False]], ["charged off", *shown.loc[True]]],
           columns=["in truth", "accepted", "refused"])

# %%
def outcomes() -> list[int]:
    found = PipelineModel.load(str(home / "baseline")).transform(held).select("bad", chance)
    groups = found.groupBy("bad", (F.col("chance") > threshold).alias("refused")).count().collect()
    counts = {(row.bad, row.refused): row["count"] for row in groups}
    return [counts.get((bad, refused), 0) for bad in (0.0, 1.0) for refused in (False, True)]


check(
    "The four outcomes add up to the held-out loans, as Spark counts them",
    lambda: [*shown.loc[False], *shown.loc[True]] == outcomes() and shown.to_numpy().sum() == held.count(),
    saw=lambda: "accepted good {:,}, refused good {:,}, accepted bad {:,}, refused bad {:,}".format(*outcomes()),
    hint=[
        "Look at the table: four counts, and none of them is zero at this threshold.",
        "Usually the comparison is reversed, or the threshold was changed after the count: "
        "`scored['chance'].describe()` in a cell shows where the chances lie.",
        "Run the cells that begin `chance = vector` and `bad, is_refused =` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Tag the snapshot
#
# Each write makes a snapshot, and maintenance deletes old snapshots. A **tag** is a name for one
# snapshot, which is kept as long as the tag exists. You record the snapshot's id beside the model.

# %% tags=["blank"]
trained_on = int(snapshots()["snapshot_id"].iloc[-1])
spark.sql(f"ALTER TABLE {table} DROP TAG IF EXISTS trained_v1")
# blank: Create the tag `trained_v1` on the snapshot `trained_on` of the table.
# solution
spark.sql(f"ALTER TABLE {table} CREATE TAG trained_v1 AS OF VERSION {trained_on} RETAIN 365 DAYS")
# end of solution
record = {"table": table, "snapshot": trained_on, "tag": "trained_v1", "rows": rows, "columns": numbers,
          "auc": scores["your model"], "best": best, "seed": seed}
(home / "baseline.json").write_text(json.dumps(record, indent=1))
show.table(spark.sql(f"SELECT name, type, snapshot_id FROM {table}.refs").toPandas().astype(str))

# %%
def tagged() -> tuple[int, int]:
    refs = {row.name: row.snapshot_id for row in spark.sql(f"SELECT * FROM {table}.refs").collect()}
    return refs["trained_v1"], spark.sql(f"SELECT * FROM {table} VERSION AS OF 'trained_v1'").count()


check(
    "The tag and the record have the same snapshot, with all its rows",
    lambda: tagged() == (json.loads((home / "baseline.json").read_text())["snapshot"], rows),
    saw=lambda: "tag trained_v1: snapshot {}, {:,} rows".format(*tagged()),
    hint=[
        "Look at the list of names: there must be a branch `main` and a tag `trained_v1`.",
        "Usually the tag was not made, or the table was loaded again after it: "
        f"`spark.sql('SELECT * FROM {table}.refs').show()` in a cell lists the names.",
        "Run the cell that begins `trained_on = int` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Lose rows silently
#
# Some pipelines set `handleInvalid="skip"`, so that a missing value does not stop them. You score a
# batch in which some incomes are missing, with both settings. `error` raises an exception. Look at the
# number of rows that `skip` returns.

# %%
faulty, _ = data.make_batch("nulls", "2024-01", 1_000, seed)
batch = spark.createDataFrame(faulty.astype({"annual_inc": "float64"})).withColumn(
    "annual_inc", F.expr("nullif(annual_inc, double('NaN'))"))


def scored_with(policy: str) -> int:
    stages = PipelineModel.load(str(home / "baseline")).stages
    stages[0].setHandleInvalid(policy)
    return len(PipelineModel(stages).transform(batch).select("probability").collect())


# %%
refusal("to score a loan without income, with `error`", lambda: scored_with("error"))
print(f"With `skip`, {scored_with('skip'):,} of {len(faulty):,} loans have a score.")

# %% [markdown]
# With `skip` the program succeeds, and some customers get no score. Only a count shows it. So every
# job of this workshop checks: **rows in = rows scored + rows refused**.

# %%
check(
    "The policy `skip` loses exactly the loans without an income",
    lambda: len(faulty) - scored_with("skip") == int(faulty["annual_inc"].isna().sum()) > 0,
    saw=lambda: f"{len(faulty) - scored_with('skip')} of {len(faulty):,} loans lost",
    hint=[
        "Look at the two lines: one shows an error, the other a number below the size of the batch.",
        "Usually the batch has no missing income because `seed` or the kind was changed: "
        "`faulty['annual_inc'].isna().sum()` in a cell counts them.",
        "Run the cells that begin `faulty, _ = data` and `refusal(` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`TABLE_OR_VIEW_NOT_FOUND`**: the table is in another catalogue or another user's warehouse. Run the cell
#   that begins `loans, truth = data` again.
# - **`ref trained_v1 already exists`**: the tag exists. The cell drops it first; run the whole cell.
# - **Java stops with `OutOfMemoryError`**: another notebook runs a Spark driver too. Shut down its kernel.

# %% [markdown]
# ## Exercise
#
# The board wants to accept 80 of 100 applicants. Which threshold does that? Store it in `board`, and
# read from `scored` what share of the accepted loans is bad.
#
# Hint: `scored["chance"].quantile(…)` gives the value below which a share of the loans lies.

# %% tags=["exercise"]
# stub: board = 0.5
# solution
board = float(scored["chance"].quantile(0.8))
# end of solution
accepted = scored[scored["chance"] <= board]
print(f"threshold {board:.3f}: {len(accepted) / len(scored):.0%} accepted, {accepted['bad'].mean():.1%} of them bad")

# %% [markdown]
# ## Recap
#
# - The **table** has each loan once, and a history of snapshots.
# - The **pipeline** is better than guessing, below the best possible AUC, and loads from disk.
# - The **curves** and the matrix show what a threshold costs.
# - The **tag** `trained_v1` keeps the rows that the model was trained on.
#
# More: [pipelines in Spark ML](https://spark.apache.org/docs/4.0.0/ml-pipeline.html),
# [precision and recall](https://scikit-learn.org/stable/auto_examples/model_selection/plot_precision_recall.html),
# [Iceberg's tags](https://iceberg.apache.org/docs/latest/branching/).
#
# Next: four chained jobs train and deploy the model, and an endpoint serves it.

# %%
quiz(
    "A model scores an AUC above the best possible one. What do you conclude?",
    ["It is a good model", "It has a leak", "The test set is too large"],
    right=1,
    because="The best possible AUC uses the true probability of each loan; a model cannot be clearly better.",
)
quiz(
    "What does a tag protect?",
    ["One snapshot, with its files and its schema", "The newest rows", "The table against writers"],
    right=0,
    because="A tag keeps one snapshot readable while the table goes on changing.",
)
quiz(
    "Why is `handleInvalid=\"skip\"` dangerous?",
    ["It is slow", "It fills in zeros", "Rows vanish, and the job stays green"],
    right=2,
    because="The output has fewer rows than the input, and no error is raised.",
)

# %% [markdown]
# ## Clean up
#
# The table, its tag, the model and its record stay: the next labs use them. The Spark driver ends, so
# that the jobs of the next lab have the memory.

# %%
if finished:
    spark.stop()
print("kept:", table, "with the tag trained_v1,", home / "baseline.json")
