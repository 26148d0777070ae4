# %% [markdown]
# # Lab logistics-06: Watch
#
# Measure latency and drift of a deployed model, and define an alert that fires only when its input has changed.

# %% [markdown]
# ## What you will build
#
# - **Latency** in milliseconds, and an error of units that makes a slow service look fast.
# - **Queue time and computing time** of each replica.
# - **PSI** and **KS**, two measures of drift, in fourteen lines.
# - An **alert** that stays silent for twenty quiet windows and fires when the input changes.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab logistics-05 | The calls and the metrics of each | its last checkpoint |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
quiet: int = 20  # windows without drift
size: int = 100  # calls in a window
shift: float = 0.8  # how much too high the values of the new firmware are
limit: float = 0.25  # the alert counts windows with a PSI above it
callers: int = 4  # how many call at the same time
seed: int = 6  # the same patterns at every run
finished: bool = False  # True: the clean-up removes your folder

# %% [markdown]
# ## Setup

# %%
import json

import numpy as np
import pandas as pd
import requests
from scipy.stats import ks_2samp

from labhelpers import Crowd, begin, check, data, fresh, quiz, settings, show, workspace
from labhelpers.cluster import caller, cluster_of, connect

begin("logistics/06")
place, k8s, source = settings(), connect(), data.fleet.find_fleet()
home, bench = workspace("logistics-06"), f"workbench-{place.user}"
cluster_of("logistics/00", k8s, bench)
http, address = caller(k8s, bench, "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"


# %%
def post(path: str, **body) -> requests.Response:
    answer = http.post(f"{address}/{path}", json=body, timeout=60)
    answer.raise_for_status()
    return answer


models = http.get(f"{address}/api/v2/models?page_size=100", timeout=60).json()["models"]
model = next(one for one in models if one["name"] == "nearest-window")
crn = post("model", accessKey=model["access_key"], request={"pattern": [54, 53, 52, 51]}).json()["response"][
    "model_deployment_crn"]

# %% [markdown]
# ## 1. Measure latency
#
# A row of metrics has two times, in milliseconds since 1970: when the call came and when its answer left.
# Their difference is the **latency**. Beware of pandas' `.dt.microseconds`: it is only the *part* of a
# duration below one second. For 1.2 seconds it is 200,000.

# %% tags=["blank"]
def calls_of(crn: str) -> pd.DataFrame:
    kept, token = [], ""
    while token is not None:
        found = post("read-metrics", modelDeploymentCrn=crn, page_token=token).json()
        kept, token = kept + found["metrics"], found["next_page_token"] or None
    return pd.DataFrame([one | one["metrics"] for one in kept if one["success"]])


calls = calls_of(crn)
came, left = (pd.to_datetime(calls[f"{one}TimeStampMs"], unit="ms") for one in ("start", "end"))
wrong = (left - came).dt.microseconds * 1000
# blank: Name `latency`: the milliseconds between `came` and `left`; a Timedelta divides a duration.
# stub: latency = wrong
# solution
latency = (left - came) / pd.Timedelta(milliseconds=1)
# end of solution
trap = [[ms, pd.Timedelta(milliseconds=ms).microseconds * 1000] for ms in (1_200, 900)]
show.table(trap, "In the wrong unit, the slower call looks faster", columns=["ms", "microseconds * 1000"])

# %% [markdown]
# You store the percentiles with the deployment, as an **aggregate** for the time from the first call to
# the last. Nineteen of twenty calls took at most the p95.

# %%
def keep(frame: pd.DataFrame, **figures: float) -> None:
    post("track-aggregate-metrics", modelDeploymentCrn=crn, startTimestampMs=int(frame["startTimeStampMs"].min()),
         endTimestampMs=int(frame["endTimeStampMs"].max()), metrics=figures)


figures = {f"p{part}": float(np.percentile(latency, part, method="lower")) for part in (50, 95, 99)}
keep(calls, **figures, calls=len(calls))
show.bars(pd.DataFrame(figures.items(), columns=["percentile", "ms"]), "percentile", "ms", "One call in twenty takes much longer than the median")

# %%
def aggregates(name: str) -> list[dict]:
    found = post("read-metrics", modelDeploymentCrn=crn, page_size=10_000).json()["aggregates"]
    return [one["metrics"] for one in found if name in one["metrics"]]


def p95() -> float:
    first = calls_of(crn).head(int(aggregates("p95")[-1]["calls"]))
    spent = sorted(first["endTimeStampMs"] - first["startTimeStampMs"])
    return float(spent[int(0.95 * (len(spent) - 1))])


# %%
check(
    "The stored p95 is the one of the rows, in milliseconds",
    lambda: aggregates("p95")[-1]["p95"] == p95(),
    saw=lambda: f"{p95():.0f} ms from the rows, {aggregates('p95')[-1]['p95']:,.0f} ms stored",
    hint=[
        "Compare the two numbers: they are equal.",
        "Usually the unit is wrong: `latency.describe()` in a cell shows what you computed.",
        "Run the cells that begin `def calls_of(` and `def keep(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Separate queue time from computing time
#
# The model reported `compute_ms`. The rest of the latency is time in the **queue** and on the network. A
# long queue needs more replicas; a long computing time needs a faster function. You look at each replica,
# because an average hides a single slow one.

# %% tags=["blank"]
calls["latency"] = latency
# blank: Add the column `queue`: the latency minus the computing time.
# stub: calls["queue"] = calls["latency"]
# solution
calls["queue"] = calls["latency"] - calls["compute_ms"]
# end of solution
calls.to_parquet(home / "calls.parquet")
calls["call"] = calls.index // 50 * 50
fifties = calls.groupby("call")[["queue", "compute_ms"]].median().reset_index()
show.lines(fifties, "call", ["queue", "compute_ms"], "Queue time is far longer than computing time", unit="ms")

# %%
pods = calls.groupby("replica").agg(calls=("latency", "size"), p50=("latency", "median"), queue=("queue", "median"),
                                    compute_ms=("compute_ms", "median"), memory_mb=("memory_mb", "max")).reset_index()
pods["replica"] = pods["replica"].str[-5:]
show.table(pods.round(2), "Both replicas behave alike")

# %%
def rest() -> pd.Series:
    kept = pd.read_parquet(home / "calls.parquet")
    return (kept["endTimeStampMs"] - kept["startTimeStampMs"] - kept["compute_ms"] - kept["queue"]).abs()


check(
    "Queue and computing together are the latency of each call",
    lambda: len(rest()) > 1000 and rest().max() < 1e-6,
    saw=lambda: f"{len(rest()):,} calls, differences up to {rest().max():.2g} ms",
    hint=[
        "Look at the picture: the lower curve is the computing, well below one millisecond.",
        "Usually the computing time was not subtracted: `calls[['latency', 'queue', 'compute_ms']].head()` in a cell.",
        "Run the cells that begin `def calls_of(` and `calls[\"latency\"]` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Compare memory with its limit
#
# A pod's **request** is the memory that is reserved for it; its **limit** is the memory that it may use.
# A pod that exceeds its limit is killed, with the calls that it was answering. The replicas reported the
# memory that they use. If it stays far below the limit, a smaller limit leaves room for other pods.

# %%
def replicas() -> pd.DataFrame:
    label = f"workbench.labs/deployment={crn.rpartition('/')[2]}"
    found = []
    for pod in k8s.core.list_namespaced_pod(k8s.namespace, label_selector=label).items:
        room = pod.spec.containers[0].resources
        found.append([pod.metadata.name, room.requests["memory"], room.limits["cpu"], room.limits["memory"]])
    return pd.DataFrame(found, columns=["replica", "requests", "cpu limit", "memory limit"])


used = calls.groupby("replica")["memory_mb"].max().reset_index(name="used MB")
show.table(replicas().merge(used).assign(replica=lambda rows: rows["replica"].str[-5:]).round(0), "Memory is far below the limit")

# %%
def room() -> float:
    limits = replicas()["memory limit"].map(lambda text: int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]])
    return float(used["used MB"].max() / limits.min())


check(
    "Each replica reported its memory, and stays below nine tenths of its limit",
    lambda: len(replicas().merge(used)) == len(replicas()) > 0 and room() < 0.9,
    saw=lambda: f"{len(replicas())} replicas, the fullest one at {room():.0%}",
    hint=[
        "Look at the table: one row for each pod.",
        "Usually a pod was started after the calls, and has reported nothing: "
        "`kubectl get pod -l workbench.labs/kind=replica` in a terminal shows their age.",
        "Run the cells that begin `def calls_of(`, `calls[\"latency\"]` and `def replicas(` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Measure drift
#
# A model answers quickly and without an error even when its input has changed, so latency does not show
# **drift**. The **PSI** divides known values into bins of equal counts and compares the share of new values
# in each bin. **KS** is the largest distance between two cumulative distributions. A PSI below 0.1 is
# usually ignored; above 0.25 somebody acts. You compare the mean of each pattern. The model normalises it
# away, so its answers do not show that it has changed.

# %% tags=["blank"]
events = data.fleet.read_events(source).sort_values("event_ts")
days = [rows["iot_signal_3"].to_numpy() for _, rows in events.groupby("device_id")]
minutes = 30
known = np.concatenate([np.convolve(day, np.ones(minutes) / minutes, "valid") for day in days])


def psi(levels: np.ndarray, bins: int = 5) -> float:  # a window of 100 calls fills no more
    edges = np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])
    before, now = (np.bincount(np.searchsorted(edges, one), minlength=bins) for one in (known, levels))
    # blank: Make shares of `before` and `now`: divide each by its sum, and let no share be below 0.0001.
    # solution
    before, now = (np.maximum(one / one.sum(), 1e-4) for one in (before, now))
    # end of solution
    return float(((now - before) * np.log(now / before)).sum())


half = known[:: len(known) // 5000]
(home / "psi.json").write_text(json.dumps([psi(half), psi(half + shift)]))
table = [[name, psi(one), ks_2samp(known, one).statistic] for name, one in {"the same": half, "shifted": half + shift}.items()]
show.table(table, "Both measures see the shift", columns=["levels", "PSI", "KS"])

# %% [markdown]
# Compare it with a second computation that shares no code with yours:

# %%
def expected(levels: np.ndarray) -> float:
    edges = [-np.inf, *np.quantile(known, [0.2, 0.4, 0.6, 0.8]), np.inf]
    share = [np.histogram(one, edges)[0] / len(one) for one in (known, levels)]
    return float(sum((b - a) * np.log(b / a) for a, b in np.maximum(share, 1e-4).T))


def measured() -> list[float]:
    return json.loads((home / "psi.json").read_text())


# %%
check(
    "Your PSI equals a second computation, near 0 without drift and above the limit with drift",
    lambda: np.allclose(measured(), [expected(half), expected(half + shift)], atol=1e-9)
    and measured()[0] < 0.01 < limit < measured()[1],
    saw=lambda: "{:.4f} and {:.3f}".format(*measured()),
    hint=[
        "Look at the two numbers: nearly 0, and more than 0.25.",
        "Usually counts were compared, not shares: `psi(half)` in a cell must be below 0.01.",
        "Run the cell that begins `events = data.fleet` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Decide by a rule
#
# Devices send twenty windows without drift. Then a new firmware sends values that are too high. Others
# call the same model, so you keep the id of each answer that your devices got; its row of metrics has
# the same id. Now and then a single window exceeds the limit by chance, so the rule requires **two in a
# row**.

# %%
dice, ids = np.random.default_rng(seed), []


def send(more: float = 0.0) -> bool:
    day = days[dice.integers(len(days))]
    at = dice.integers(len(day) - minutes)
    pattern = (day[at : at + minutes] + more).tolist()
    answer = post("model", accessKey=model["access_key"], request={"pattern": pattern}).json()
    ids.append(answer["response"]["uuid"])
    return True


notes = home / "drift.json"
if not notes.exists() or json.loads(notes.read_text())["crn"] != crn:
    Crowd(send, callers).send(quiet * size)
    Crowd(lambda: send(shift), callers).send(3 * size)
    notes.write_text(json.dumps({"crn": crn, "ids": ids}))

# %% tags=["blank"]
def fires(values: list[float]) -> list[bool]:
    # blank: Return for each window whether its value and the one before are above `limit`.
    # stub: return [value > limit for value in values]
    # solution
    above = [value > limit for value in values]
    return [now and before for before, now in zip([False, *above[:-1]], above, strict=True)]
    # end of solution


def windows() -> list[np.ndarray]:
    kept = json.loads(notes.read_text())["ids"]
    levels = calls_of(crn).set_index("predictionUuid").loc[kept, "level"].to_numpy()
    return [levels[at : at + size] for at in range(0, len(levels), size)]


values = [psi(levels) for levels in windows()]
print("single peaks:", fires([0.1, 0.4, 0.1]), "| two in a row:", fires([0.1, 0.4, 0.4]))

# %% [markdown]
# You store an aggregate for each window: its PSI, its KS and whether the alert fires. The workbench
# exposes the newest one at `/metrics`, in Prometheus' format. On a cluster with Prometheus,
# [deploy/monitoring](../../deploy/monitoring/README.md) has rules for it.

# %%
table = calls_of(crn)
for levels, value, alert in zip(windows(), values, fires(values), strict=True):
    keep(table.tail(size), psi=value, ks=float(ks_2samp(known, levels).statistic), alert=float(alert))
curve = pd.DataFrame({"window": np.arange(1, len(values) + 1), "PSI": values, "limit": limit})
show.lines(curve, "window", ["PSI", "limit"], "Twenty windows without drift, then a new firmware")
print(*[line[:150] for line in http.get(f"{address}/metrics", timeout=30).text.splitlines() if 'name="' in line], sep="\n")

# %%
def record() -> list[bool]:
    return [one["alert"] > 0 for one in aggregates("psi")[-quiet - 3 :]]


def by_hand() -> list[bool]:
    above = [expected(levels) > limit for levels in windows()]
    return [at > 0 and above[at - 1] and above[at] for at in range(len(above))]


check(
    "The record is silent for all quiet windows, and fires in the second and third of the drift",
    lambda: record() == by_hand() == [False] * (quiet + 1) + [True] * 2 and not any(fires([0.1, 0.9, 0.1])),
    saw=lambda: f"{sum(record()[:quiet])} alerts in {quiet} quiet windows, {sum(record()[quiet:])} in three of the drift",
    hint=[
        "Look at the last windows of the curve: they are far above the limit.",
        "Usually the rule requires one window only: `fires([0.1, 0.9, 0.1])` in a cell must hold no True.",
        "Run the cells that begin `dice, ids = np.random`, `def fires(` and `table = calls_of` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`KeyError: 'compute_ms'`**: the deployment reports no metrics of its own. Run lab logistics-05.
# - **`KeyError: … not in index`**: the model was deployed again while your devices sent. Run this lab
#   again from its first cell.
# - **The alert fires without drift**: the windows have too few calls. Take `size = 200`, or fewer bins.

# %% [markdown]
# ## Exercise
#
# How small may a window be? Draw 1,000 windows of twenty values from `known`, so without drift, and store
# in `chance` the share of windows whose PSI is above the limit.
#
# Hint: `dice.choice(known, 20)` draws a window.

# %% tags=["exercise"]
# stub: chance = 0.0
# solution
chance = float(np.mean([psi(dice.choice(known, 20)) > limit for _ in range(1000)]))
# end of solution
print(f"{chance:.0%} of the windows of twenty calls are above the limit without drift")

# %% [markdown]
# ## Recap
#
# - **Latency** is end minus start, in one unit; percentiles show what a mean hides.
# - **Queue time and computing time** were separated; they have different remedies.
# - **PSI** and **KS** showed a change of the input that the answers do not show.
# - The **alert** needs two windows, was silent for twenty, and is stored with the deployment.
#
# More on both measures: [SciPy on KS](https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.ks_2samp.html);
# on rules for alerts: [Prometheus, alerting](https://prometheus.io/docs/practices/alerting/).
#
# Next: replace the model under load.

# %%
quiz(
    "The latency doubled, the computing time did not change. What helps?",
    ["A faster function", "Another replica", "A larger memory limit"],
    right=1,
    because="The time in the queue grew, and more replicas make a queue shorter.",
)
quiz(
    "All calls are answered in 2 ms without an error. Are the answers good?",
    ["Yes", "Only if no pod was restarted", "Unknown: the input may have changed"],
    right=2,
    because="A model answers any input of the right form; drift shows only in the values.",
)
quiz(
    "Why two windows in a row?",
    ["A single window may exceed the limit by chance", "Two are faster to compute", "PSI needs two windows"],
    right=0,
    because="If one window in 100 exceeds the limit by chance, two in a row do so once in 10,000.",
)

# %% [markdown]
# ## Clean up
#
# The rows and aggregates stay with the deployment. To remove your folder, type `finished = True` in a
# cell and run this one; running it twice is safe.

# %%
if finished:
    fresh(home)
print("Removed: your notes" if finished else f"Kept: {len(calls_of(crn)):,} calls and their aggregates")
