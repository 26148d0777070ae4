# %% [markdown]
# # Lab mlops-07: Prevent it
#
# Audit each month on a branch of the table before readers see it, and send Airflow an asset event for each published month.

# %% [markdown]
# ## What you will build
#
# - A **data contract** that both teams can read: which values each column may have.
# - **Write, audit, publish**: a month is written to a branch of the table, audited there, and published.
# - Four **bad months** that are rejected, each with the column, the rule, a count and examples.
# - One **retraining** for each published month, and none for a rejected one.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlops-06 | The repaired table and the DAG `retrain_on_change` | its last checkpoint |
# | 1 GB of free memory | One Spark driver runs in this notebook | `free -h` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
month: str = "2024-04"  # the month of all deliveries
batch_rows: int = 1_000  # how many loans it has
seed: int = 7  # the same seed makes the same loans
finished: bool = False  # True: the clean-up stops Spark

# %% [markdown]
# ## Setup

# %%
import json

import pandas as pd
import requests
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from labhelpers import begin, check, data, quiz, settings, show, spark_session, wait, workspace
from labhelpers.cluster import caller, cluster_of, connect

begin("mlops/07")
place, k8s, home = settings(), connect(), workspace("mlops")
flow, table = f"airflow-{place.user}", "ice.mlops.loans"
ordered = cluster_of("mlops-03", k8s, flow)
web, airflow = caller(k8s, flow, "controller", 8080)
password = web.headers.pop("X-Auth-Token")
session = web.post(f"{airflow}/auth/token", json={"username": "learner", "password": password}, timeout=60)
web.headers["Authorization"] = f"Bearer {session.json()['access_token']}"

# %%
def air(verb: str, path: str, **more) -> dict:
    answer = web.request(verb, f"{airflow}/api/v2/{path}", timeout=60, **more)
    if not answer.ok:
        raise requests.HTTPError(f"{verb} {path}: {answer.status_code} {answer.text[:200]}")
    return answer.json()


spark = spark_session("mlops")


def heads() -> dict[str, int]:
    return {row.name: row.snapshot_id for row in spark.sql(f"SELECT name, snapshot_id FROM {table}.refs").collect()}


published = int(heads()["main"])
print(heads())

# %% [markdown]
# ## 1. Write the contract
#
# A data contract is an agreement between two teams in a form that a program can check. Each entry has a
# column, the name of a rule, and an SQL condition that is true for a **bad** row. The risk team can read
# and change it without a library.

# %%
numbers = {"funded_amnt": (500, 50_000), "annual_inc": (1_000, 2_000_000), "avg_cur_bal": (0, 1_000_000),
           "acc_open_past_24mths": (0, 60), "acc_now_delinq": (0, 20)}
values = {"term": ["36 months", "60 months"],
          "home_ownership": ["MORTGAGE", "RENT", "OWN", "ANY"],
          "purpose": ["debt_consolidation", "credit_card", "home_improvement", "small_business",
                      "major_purchase", "medical"],
          "loan_status": ["Fully Paid", "Charged Off"]}
contract: list[tuple[str, str, str]] = [("loan_id", "is a number", "try_cast(loan_id AS bigint) IS NULL")]
for name, (least, most) in numbers.items():
    contract += [(name, "is not null", f"{name} IS NULL"),
                 (name, "is a number", f"{name} IS NOT NULL AND try_cast({name} AS double) IS NULL"),
                 (name, f"is {least:,} to {most:,}", f"try_cast({name} AS double) NOT BETWEEN {least} AND {most}")]
for name, allowed in values.items():
    listed = ", ".join(f"'{value}'" for value in allowed)
    contract += [(name, "is not null", f"{name} IS NULL"), (name, "is a known value", f"{name} NOT IN ({listed})")]

# %% [markdown]
# Two rules need more than one row: a loan must be unique, and a month must have both outcomes. A month
# with one outcome is incomplete. The audit returns a **finding** for each violated rule.

# %% tags=["blank"]
def audit(arrived: DataFrame) -> list[dict]:
    counts = arrived.selectExpr(*[f"count_if({condition})" for _, _, condition in contract]).first()  # one pass
    found = []
    for (column, rule, condition), count in zip(contract, counts, strict=True):
        if count:
            some = [str(row[0]) for row in arrived.where(condition).select(column).distinct().limit(3).collect()]
            found.append({"column": column, "rule": rule, "rows": count, "examples": ", ".join(some)})
    # blank: Let `twice` be the loans of `arrived` that occur more than once: their `loan_id` and `count`.
    # stub: twice = arrived.limit(0)
    # solution
    twice = arrived.groupBy("loan_id").count().where("count > 1")
    # end of solution
    if count := twice.count():
        some = [str(row[0]) for row in twice.limit(3).collect()]
        found.append({"column": "loan_id", "rule": "is unique", "rows": count, "examples": ", ".join(some)})
    if arrived.select("loan_status").distinct().count() < 2:
        found.append({"column": "loan_status", "rule": "has both outcomes", "rows": arrived.count(), "examples": ""})
    return found

# %%
schema = spark.table(table).schema
names = [field.name for field in schema]


def delivered(kind: str) -> DataFrame:
    frame, _ = data.make_batch(kind, month, batch_rows, seed)
    path = home / "delivered" / f"{kind}.csv"
    path.parent.mkdir(exist_ok=True)
    frame.reindex(columns=names).to_csv(path, index=False)
    return spark.read.csv(str(path), header=True)  # all columns are texts: no type is inferred


def broken_rules(kind: str) -> set[tuple[str, str]]:
    return {(one["column"], one["rule"]) for one in audit(delivered(kind))}

# %%
check(
    "The contract accepts a good month, and finds a duplicate loan",
    lambda: spark.table(table).count() > 0 and broken_rules("texts") == set()
    and broken_rules("duplicates") == {("loan_id", "is unique")},
    saw=lambda: f"good: {len(broken_rules('texts'))} findings; duplicates: {broken_rules('duplicates')}",
    hint=[
        "Look at the findings: the good month must have none, the other one exactly one.",
        "Usually `twice` has the wrong loans: `audit(delivered('duplicates'))` in a cell shows what it finds.",
        "Run the cells that begin `numbers = {`, `def audit` and `schema = spark` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Write to a branch
#
# An Iceberg **branch** is a second line of snapshots in the same table. Readers of the table read the
# branch `main`. You write the month to a branch named `audit`, with the types of the table.

# %% tags=["blank"]
casts = [f"try_cast({field.name} AS {field.dataType.simpleString()}) AS {field.name}" for field in schema]


def write(kind: str) -> None:
    spark.sql(f"ALTER TABLE {table} DROP BRANCH IF EXISTS audit")
    spark.sql(f"ALTER TABLE {table} CREATE BRANCH audit")
    typed = delivered(kind).selectExpr(*casts)
    # blank: Append `typed` to the branch: a table is written with writeTo(…).append(), and the branch
    # blank: `audit` of a table is named `<table>.branch_audit`.
    # stub: typed.count()
    # solution
    typed.writeTo(f"{table}.branch_audit").append()
    # end of solution


write("texts")
rows = {"main": spark.table(table).count(), "audit": spark.table(f"{table}.branch_audit").count()}
show.bars(pd.DataFrame(rows.items(), columns=["branch", "rows"]), "branch", "rows", "The month is on the branch only")

# %%
def on_branch() -> int:
    known = spark.table(f"{table}.branch_audit").where(F.col("issue_d") == month)
    return known.count()


check(
    "The month is on the branch, and main has not changed",
    lambda: on_branch() == batch_rows and int(heads()["main"]) == published,
    saw=lambda: f"{on_branch():,} loans on the branch; main is at {heads()['main']}",
    hint=[
        "Look at the bars: the branch must have one month more than `main`.",
        "Usually the month was written to `main`: `heads()` in a cell shows the snapshots of both branches.",
        "Run the cells that begin `def air(` and `casts = [` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Reject four bad months
#
# Four deliveries have one fault each. You write each one to the branch, audit it, and drop the branch.
# The report for the team that delivered it has the column, the rule, the count and examples.

# %%
report = []
for kind in ("category", "number-as-text", "duplicates", "nulls"):
    write(kind)
    findings = audit(delivered(kind))
    if findings:
        spark.sql(f"ALTER TABLE {table} DROP BRANCH audit")
    report.append({"month": month, "delivery": kind, "main": str(heads()["main"]), "findings": findings})
size = (home / "audit.json").write_text(json.dumps(report, indent=1))
found = [[one["delivery"], *f.values()] for one in report for f in one["findings"]]
show.table(found, columns=["delivery", "column", "rule", "rows", "examples"])

# %%
def written() -> list[dict]:
    return json.loads((home / "audit.json").read_text())


def reasons() -> dict[str, str]:
    return {one["delivery"]: f"{one['findings'][0]['column']} {one['findings'][0]['rule']}" for one in written()}


check(
    "No bad month is in main, and each has a finding",
    lambda: int(heads()["main"]) == published and {one["main"] for one in written()} == {str(published)}
    and reasons() == {"category": "purpose is a known value", "number-as-text": "annual_inc is a number",
                      "duplicates": "loan_id is unique", "nulls": "annual_inc is not null"},
    saw=lambda: "; ".join(f"{kind}: {reason}" for kind, reason in reasons().items()),
    hint=[
        "Look at the table: four deliveries, each with one finding.",
        "Usually a rule is missing in the contract: `audit(delivered('nulls'))` in a cell shows its findings.",
        "Run the cells that begin `numbers = {`, `def audit` and `report = []` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Publish the good month
#
# A **fast-forward** publishes the branch: `main` then points to the branch's newest snapshot. No row is
# written again. Then you send Airflow an asset event, which triggers the DAG `retrain_on_change`. You
# count the runs of this DAG before and after.

# %% tags=["blank"]
def runs() -> int:
    return air("GET", "dags/retrain_on_change/dagRuns?limit=100")["total_entries"]


asset = air("GET", "assets?name_pattern=loans")["assets"][0]["id"]
before = runs()
if int(heads()["main"]) == published:
    write("texts")
    # blank: Call ice.system.fast_forward with the table 'mlops.loans', the branch 'main' and 'audit'.
    # solution
    spark.sql("CALL ice.system.fast_forward('mlops.loans', 'main', 'audit')")
    # end of solution
    spark.sql(f"ALTER TABLE {table} DROP BRANCH audit")
    if int(heads()["main"]) != published:
        event = air("POST", "assets/events", json={"asset_id": asset, "extra": {"snapshot": str(heads()["main"])}})
        wait("the run of retrain_on_change", runs, until=lambda seen: seen > before, deadline=120, every=1, ignoring=(OSError,))

# %%
def latest() -> dict:
    return air("GET", "dags/retrain_on_change/dagRuns?order_by=-run_after&limit=1")["dag_runs"][0]


def noted() -> str:
    path = f"dags/retrain_on_change/dagRuns/{latest()['dag_run_id']}/taskInstances/note/xcomEntries/return_value"
    return str(air("GET", f"{path}?deserialize=true")["value"]["snapshot"])


def is_notified() -> bool:
    wait("the end of the run", lambda: latest()["state"], until=lambda seen: seen == "success", deadline=120, every=1)
    return noted() == str(heads()["main"])

# %%
check(
    "The good month is published, and a run was triggered with its snapshot",
    lambda: spark.table(table).where(F.col("issue_d") == month).count() == batch_rows
    and heads()["main"] != published and is_notified(),
    saw=lambda: f"main is at {heads()['main']}; the newest run got {noted()}",
    hint=[
        "Look at the two numbers: main's snapshot, and the snapshot that the run got.",
        "Usually the fast-forward was not called, so no event was sent: `heads()` in a cell shows main.",
        "Run the cells that begin `def runs` and `def latest` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`fast_forward` fails**: `main` has a new snapshot since the branch was created. Drop the branch,
#   write the month again and audit it again, so that you publish what you audited.
# - **The good month has findings**: the contract was changed, or the form has a new value. Both teams
#   decide which of the two must change.
# - **No run starts in Airflow**: the DAG is paused. Unpause it on Airflow's page.

# %% [markdown]
# ## Exercise
#
# A month in which every loan was paid back passes every rule about single rows, but its charged-off loans
# are missing. Make one from the good delivery, audit it, and store the findings in `one_sided`.
#
# Hint: `delivered("texts").where(…)` keeps the rows of one status.

# %% tags=["exercise"]
# stub: one_sided = []
# solution
one_sided = audit(delivered("texts").where("loan_status = 'Fully Paid'"))
# end of solution
print(one_sided)

# %% [markdown]
# ## Recap
#
# - The **contract** is SQL that both teams can read.
# - A month was **written** to a branch, **audited** there, and **published** by a fast-forward.
# - Four **bad months** did not change `main`; each has a finding.
# - One **retraining** ran for the published month.
#
# More: [write, audit, publish with branches](https://iceberg.apache.org/docs/latest/branching/),
# [a standard for data contracts](https://bitol-io.github.io/open-data-contract-standard/latest/),
# [assets in Airflow](https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/asset-scheduling.html).
#
# Next: find for each model its data, its code and its run.

# %%
quiz(
    "What do readers see of a month that is on a branch?",
    ["Its first rows", "Nothing, until it is published", "All of it"],
    right=1,
    because="Readers read main; a branch is a separate line of snapshots.",
)
quiz(
    "What does a fast-forward write?",
    ["Only the reference main", "All rows again", "The rows of the branch"],
    right=0,
    because="The data files exist; main then points to the audited snapshot.",
)
quiz(
    "Why are the delivered files read as texts?",
    ["Texts are smaller", "Spark needs it", "So that an invalid number is a finding, not a null"],
    right=2,
    because="A reader with a numeric schema silently turns an invalid number into null.",
)

# %% [markdown]
# ## Clean up

# %%
if finished:
    spark.stop()
print("kept:", table, "with", month, "and", home / "audit.json")
