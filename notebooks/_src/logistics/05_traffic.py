# %% [markdown]
# # Lab logistics-05: Send traffic
#
# Call both models with many callers and with bad input, and show that every call left a row of metrics.

# %% [markdown]
# ## What you will build
#
# - A **function that reports metrics**: its replica, computing time, memory and input.
# - **1,200 calls** by one, four and sixteen callers at a time, without a failure.
# - A count of **refused calls**, and the reason why a constant pattern must be refused.
# - A **reading of the metrics** that misses no row and counts none twice.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab logistics-04 | Two deployed models in the project PRD | its last checkpoint |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
calls: int = 400  # how many each of the three crowds sends
crowds: list = [1, 4, 16]  # how many callers a crowd has
length: int = 30  # minutes of a pattern
replicas: int = 2  # pods of the model for queries
seed: int = 5  # the same patterns at every run
finished: bool = False  # True: the clean-up stops the deployment of this lab

# %% [markdown]
# ## Setup
#
# You send requests to the workbench with the administrator's key, as in lab logistics-04. The callers
# have the key of a user who may call models and nothing else.

# %%
import numpy as np
import pandas as pd
import requests

from labhelpers import Crowd, begin, check, data, quiz, settings, show, wait
from labhelpers.cluster import caller, cluster_of, connect

begin("logistics/05")
place, k8s, source = settings(), connect(), data.fleet.find_fleet()
bench = f"workbench-{place.user}"
cluster_of("logistics/00", k8s, bench)
http, address = caller(k8s, bench, "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"


def ask(verb: str, path: str, body: dict | None = None, **more) -> dict:
    answer = http.request(verb, f"{address}/api/v2{path}", json=body, timeout=60, **more)
    answer.raise_for_status()
    return answer.json()


# %%
models = {one["name"]: one for one in ask("GET", "/models", params={"page_size": 100})["models"]}
nearest, finder = (models[name] for name in ("nearest-window", "motif-finder"))  # of lab logistics-04
prd = f"/projects/{nearest['project']['id']}"
ask("PUT", f"{prd}/collaborators/gateway", {"permission": "operator"})
key = ask("POST", "/users/gateway/v2_keys", {"comments": "lab logistics-05"})["api_key"]
customer = {"Authorization": f"Bearer {key}"}
sent: dict[str, bool] = {}  # uuid of each call of the crowds, and whether it was answered well


def call(model: dict, request: dict) -> requests.Response:
    body = {"accessKey": model["access_key"], "request": request}
    return http.post(f"{address}/model", json=body, headers=customer, timeout=60)


# %% [markdown]
# ## 1. Let the model report metrics
#
# The workbench records when each call came and when its answer left. Only the function knows how long it
# computed. `metric` adds a value to the row of the current call; outside a deployment it does nothing.
# The function of lab logistics-04 stays unchanged: a second one wraps it.

# %%
WATCHED = """
import os, resource, time
from labapps.workbench.track import metric
from predict import predict

def watched(request):
    began = time.perf_counter()
    answer = predict(request)
    metric("replica", os.environ["HOSTNAME"])
    metric("memory_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    metric("level", sum(request["pattern"]) / len(request["pattern"]))
# compute
    return answer
"""

# %% tags=["blank"]
# blank: Name COMPUTE: a line of four spaces that gives `metric` the name compute_ms and the milliseconds since `began`.
# stub: COMPUTE = ""
# solution
COMPUTE = '    metric("compute_ms", (time.perf_counter() - began) * 1000)'
# end of solution
ask("PUT", f"{prd}/files/watched.py", data=WATCHED.replace("# compute", COMPUTE).encode());

# %%
def ended(path: str, good: str, bad: str) -> dict:
    return wait(f"{path.split('/')[-2]} to end", lambda: ask("GET", path),
                until=lambda seen: seen["status"] in (good, bad), deadline=300)


def deploy(file: str, function: str) -> dict:
    builds = f"{prd}/models/{nearest['id']}/builds"
    number = ask("POST", builds, {"file_path": file, "function_name": function})["id"]
    path = f"{builds}/{ended(f'{builds}/{number}', 'built', 'build failed')['id']}/deployments"
    size = {"cpu": 0.5, "memory": 0.5, "replicas": replicas}
    return ended(f"{path}/{ask('POST', path, size)['id']}", "deployed", "failed")


deployment = deploy("watched.py", "watched")
print(deployment["status"], deployment["replicas"], "replicas")

# %%
def page(crn: str, **more) -> dict:
    body = {"modelDeploymentCrn": crn, **more}
    answer = http.post(f"{address}/read-metrics", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def row() -> dict:
    answer = call(nearest, {"pattern": [54, 53, 52, 51]}).json()["response"]
    kept = page(answer["model_deployment_crn"], page_size=10_000)["metrics"]
    return next(one for one in kept if one["predictionUuid"] == answer["uuid"])


# %%
check(
    "The row of a call names its replica and the milliseconds that it computed",
    lambda: 0 < row()["metrics"]["compute_ms"] <= row()["endTimeStampMs"] - row()["startTimeStampMs"] + 1000
    and row()["metrics"]["replica"],
    saw=lambda: str(row()["metrics"])[:120],
    hint=[
        "Look at the row that was printed: four metrics, among them `compute_ms`.",
        "Usually the file was uploaded without the line: "
        '`print(http.get(f"{address}/api/v2{prd}/files/watched.py").text)` in a cell shows it.',
        "Run the cells that begin `WATCHED = `, `COMPUTE = ` and `def ended(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Send calls in parallel
#
# A pattern is half an hour of a random lorry's day. You send the same number of calls with one, four and
# sixteen callers at a time. A replica answers one call at a time; other calls wait in a **queue**. More
# callers get more answers a second only while a replica is idle. After that, each of them only waits
# longer. The table shows the median latency (p50) and the p95, which one call in twenty exceeds.

# %% tags=["blank"]
events = data.fleet.read_events(source).sort_values("event_ts")
days = [rows["iot_signal_3"].to_numpy() for _, rows in events.groupby("device_id")]
dice = np.random.default_rng(seed)


def pattern() -> list[float]:
    day = days[dice.integers(len(days))]
    at = dice.integers(len(day) - length)
    return day[at : at + length].tolist()


def send() -> bool:
    answer = call(nearest, {"pattern": pattern()})
    # blank: Note in `sent`, under the uuid of the answer's `response`, whether the call was ok.
    # solution
    sent[answer.json()["response"]["uuid"]] = answer.ok
    # end of solution
    return answer.ok


# %%
measured = []
sent.clear()
for callers in crowds:
    crowd = Crowd(send, callers).send(calls)
    spent = np.array(crowd.milliseconds)
    measured.append([callers, crowd.failed, callers * 1000 / spent.mean(), *np.percentile(spent, (50, 95))])
table = pd.DataFrame(measured, columns=["callers", "failed", "calls a second", "p50 ms", "p95 ms"])
show.table(table.round(1), "The more callers, the longer each of them waits")
show.lines(table, "callers", ["p50 ms", "p95 ms"], "Latency grows with the number of callers", unit="milliseconds")

# %%
def recorded(success: bool) -> set[str]:
    kept = page(deployment["crn"], page_size=10_000)["metrics"]
    return {one["predictionUuid"] for one in kept if one["success"] is success}


check(
    "Every call of the crowds was answered, and noted under its own uuid",
    lambda: len(sent) >= calls * len(crowds) and set(sent) <= recorded(True) and not any(row[1] for row in measured),
    saw=lambda: f"{len(sent):,} calls, {sum(row[1] for row in measured)} failed",
    hint=[
        "Look at the table: the column `failed` holds zeros.",
        "Usually a call was not noted, or the model was deployed again meanwhile: "
        "`call(nearest, {'pattern': pattern()}).text` in a cell shows an answer.",
        "Run the cells that begin `events = data.fleet` and `measured = []` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Send bad input
#
# A broken device sends the same number again and again. A constant pattern has no shape: z-normalisation
# divides zero by zero, numpy returns `nan`, and `argmin` of many `nan` is 0. Without a refusal, the answer
# for every broken device would be "window 0". So the function of lab logistics-04 raises a `ValueError`,
# and the workbench answers with status 422: the request is wrong, and a retry does not help.

# %%
with np.errstate(invalid="ignore"):
    shape = (np.full(4, 52.0) - 52.0) / np.full(4, 52.0).std()
print(shape, "→ the nearest window is number", int(np.argmin(shape)))

# %% tags=["blank"]
nonsense = {"constant": [52.0] * 4, "too short": [1.0, 2.0], "too long": [1.0, 2.0] * 1000,
            "a text": "54,53,52,51", "a gap": [1.0, None, 3.0]}
refused: dict[str, tuple[int, str]] = {}
for name, bad in nonsense.items():
    answer = call(nearest, {"pattern": bad})
    # blank: Name `uuid`: that of the answer's `response`; a refusal has one, too.
    # stub: uuid = ""
    # solution
    uuid = answer.json()["response"]["uuid"]
    # end of solution
    refused[name] = (answer.status_code, uuid)
    print(f"{name:>10}: {answer.status_code}", answer.json()["errors"].partition(": ")[2][:78])

# %%
def kept_refusals() -> int:
    return len({uuid for _, uuid in refused.values()} & recorded(False))


check(
    "All bad input was refused with 422, and each refusal has a row",
    lambda: {code for code, _ in refused.values()} == {422} and kept_refusals() == len(nonsense) == 5,
    saw=lambda: f"{kept_refusals()} rows of refusals for {len(nonsense)} kinds of bad input",
    hint=[
        "Look at the list: each line has the code 422 and a sentence.",
        "Usually the model is an older one, which answers a constant: "
        "`call(nearest, {'pattern': [5, 5, 5]}).text` in a cell shows its answer.",
        "Run the cells that begin `def ended(`, `measured = []` and `nonsense = {` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Ask the second model for ten lorries
#
# The motif model takes a whole day of four signals. Such a call takes a thousand times as long as a query.
# It has a deployment of its own, because in a shared queue one such call would delay all queries. The
# model was tested with one lorry; now you ask it for ten, and the checkpoint compares its answers with the
# refuel stops in the generated data.

# %%
lorries = sorted(events["device_id"].unique())[:10]
motifs = {}


def motif_of(lorry: str) -> list[int]:
    day = events[events["device_id"] == lorry].filter(like="iot_signal")
    return call(finder, {"data": day.to_dict("list")}).json()["response"]["prediction"]["motif_discovered"]


for lorry in lorries:
    motifs[lorry] = motif_of(lorry)
show.table([[lorry, *found] for lorry, found in motifs.items()], "The minute of each lorry's motif",
           columns=["lorry", "1 signal", "2 signals", "3 signals", "4 signals"])

# %%
def stops() -> int:
    planted = data.fleet.read_truth(source)["planted"]
    return sum(min(abs(found[1] - at) for at in planted[lorry]["motif"]) <= 5 for lorry, found in motifs.items())


check(
    "The motif of two signals is the refuel stop, for nearly all of the ten lorries",
    lambda: len(motifs) == 10 and stops() >= 9 and motif_of(lorries[0]) == motifs[lorries[0]],
    saw=lambda: f"{stops()} of {len(motifs)} lorries",
    hint=[
        "Look at the column `2 signals`: a minute of the day for each lorry.",
        "Usually the rows were not sorted before they were sent: "
        "`events['event_ts'].is_monotonic_increasing` in a cell says so.",
        "Run the cells that begin `events = data.fleet` and `lorries = sorted` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Read all metrics
#
# The API returns long lists in **pages**. Each answer has a `next_page_token`; send it with the next
# request to get the next page. An empty token marks the last page. A program that reads only the first
# page computes statistics of 500 calls, without an error. Read all pages before you compute a mean or a
# percentile.

# %% tags=["blank"]
def rows_of(crn: str) -> list[dict]:
    found = page(crn, page_size=500)
    kept = found["metrics"]
    # blank: While there is a next_page_token, ask with page_token=… for the next page, and add its metrics.
    # solution
    while found["next_page_token"]:
        found = page(crn, page_size=500, page_token=found["next_page_token"])
        kept += found["metrics"]
    # end of solution
    return kept


kept = rows_of(deployment["crn"])
frame = pd.DataFrame([one["metrics"] | {"ok": one["success"]} for one in kept])
each = frame.groupby("replica").agg(calls=("ok", "size"), compute_ms=("compute_ms", "median")).reset_index()
show.table(each.round(2), f"{len(kept):,} rows; the replicas share the work")

# %%
def counts() -> tuple[int, int, int]:
    found = [one["predictionUuid"] for one in rows_of(deployment["crn"])]
    mine = {*sent, *(uuid for _, uuid in refused.values())}
    return len(found), len(set(found)), len(mine - set(found))


check(
    "More than a thousand calls are recorded, each once, and none of yours is missing",
    lambda: counts()[0] == counts()[1] > 1000 and len(sent) > 1000 and counts()[2] == 0,
    saw=lambda: "{:,} rows, {:,} different uuids, {} missing".format(*counts()),
    hint=[
        "Compare the three numbers: rows and uuids are equal, and none is missing.",
        "Usually only the first page was read: `len(rows_of(deployment['crn']))` in a cell shows how many.",
        "Run the cells that begin `def rows_of(`, `events = data.fleet` and `measured = []` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **503, `No replica was ready`**: the pods were stopped, or do not fit on the node. `kubectl get pod`
#   lists them.
# - **403 from a call**: the key belongs to a user without the permission `operator` in PRD.
# - **`KeyError: 'nearest-window'`**: lab logistics-04 has not deployed its models on this platform.

# %% [markdown]
# ## Exercise
#
# Which share of a call's time in the workbench is computing? Use the rows of successful calls, and store
# the share, between 0 and 1, in `share`.
#
# Hint: a row has `startTimeStampMs` and `endTimeStampMs`, and its metrics have `compute_ms`.

# %% tags=["exercise"]
# stub: share = 0.0
# solution
good = [one for one in kept if one["success"]]
total = sum(one["endTimeStampMs"] - one["startTimeStampMs"] for one in good)
share = sum(one["metrics"]["compute_ms"] for one in good) / total
# end of solution
print(f"{share:.0%} of the time is computing; the rest is waiting and transport")

# %% [markdown]
# ## Recap
#
# - The model **reports** replica, computing time, memory and level of each call.
# - **1,200 calls** were answered without a failure; with more callers each waited longer.
# - **Bad input** was refused with 422, and counts as a call that failed.
# - The **metrics** have one row for each call, read page by page.
#
# The verbs of the metrics follow [Cloudera's tracked metrics](https://docs.cloudera.com/machine-learning/cloud/model-metrics/topics/ml-tracking-model-metrics.html);
# why percentiles and not means: [the SRE book on monitoring](https://sre.google/sre-book/monitoring-distributed-systems/).
#
# Next: latency, drift and an alert, computed from these rows.

# %%
quiz(
    "Sixteen callers get no more answers a second than four. Where do they wait?",
    ["In the queue of the replicas", "At the access key", "In the notebook"],
    right=0,
    because="A replica answers one call at a time; when both are busy, all other calls wait.",
)
quiz(
    "Why is a constant pattern refused, although a distance could be computed?",
    ["It is too short", "Its answer would mean nothing", "JSON has no constants"],
    right=1,
    because="A constant pattern has no shape, so no window is more similar to it than another.",
)
quiz(
    "A report counts exactly 500 calls every day. What do you suspect?",
    ["A quota", "A slow replica", "That only the first page is read"],
    right=2,
    because="A page holds as many rows as were asked for; the others need the token.",
)

# %% [markdown]
# ## Clean up
#
# The next labs read these rows and call this deployment. To stop it, type `finished = True` in a cell
# and run this one; running it twice is safe.

# %%
if finished:
    ask("POST", f"{prd}/models/{nearest['id']}/builds/{deployment['build_id']}/deployments/{deployment['id']}:stop")
print("Stopped" if finished else f"Kept: the deployment with {len(sent):,} calls")
