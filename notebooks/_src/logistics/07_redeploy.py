# %% [markdown]
# # Lab logistics-07: Redeploy without a gap
#
# Replace a model three times under load, once with a broken setting, and show that no call fails.

# %% [markdown]
# ## What you will build
#
# - A **constant load** that records which deployment answered each call.
# - A **new build** in larger pods, deployed without an interruption.
# - A deployment that **fails to load** while the one before it keeps serving.
# - A **rollback** to the old build, and a count: no call failed, no row is missing.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab logistics-05 | The deployment that you replace | its last checkpoint |
# | 1 GB of free memory | Old and new pods run side by side for a short time | `free -h` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
callers: int = 3  # customers who call at the same time
pace: float = 0.02  # seconds between two calls of one customer
cpu: float = 1.0  # cores that a new pod may use; 4 for a large model
memory: float = 0.75  # GiB that it may use; 8 for a large model
replicas: int = 2  # pods of the new deployment
finished: bool = False  # True: the clean-up stops the load

# %% [markdown]
# ## Setup

# %%
import time
from collections import Counter
from threading import Event

import pandas as pd
import requests

from labhelpers import Crowd, begin, check, quiz, settings, show, wait
from labhelpers.cluster import caller, cluster_of, connect

begin("logistics/07")
place, k8s = settings(), connect()
bench = f"workbench-{place.user}"
cluster_of("logistics/00", k8s, bench)
http, address = caller(k8s, bench, "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"


# %%
def ask(verb: str, path: str, body: dict | None = None, **more) -> dict:
    answer = http.request(verb, f"{address}/api/v2{path}", json=body, timeout=60, **more)
    answer.raise_for_status()
    return answer.json()


models = {one["name"]: one for one in ask("GET", "/models", params={"page_size": 100})["models"]}
nearest = models["nearest-window"]  # of lab logistics-04
prd = f"/projects/{nearest['project']['id']}"
builds = f"{prd}/models/{nearest['id']}/builds"

# %% [markdown]
# ## 1. Start the load
#
# A customer sends a pattern, waits for the answer, and sends the next one. Each answer names its
# **deployment** by a crn, which is the id of an object in the workbench. You record the crn, the time and
# the uuid of each answer. The customers keep calling until the last step.

# %%
answers: list[tuple[float, str, str]] = []  # moment, deployment, uuid
between = Event()


def call() -> requests.Response:
    body = {"accessKey": nearest["access_key"], "request": {"pattern": [54, 53, 52, 51]}}
    return http.post(f"{address}/model", json=body, timeout=60)


def customer() -> bool:
    answer = call()
    if answer.ok:
        found = answer.json()["response"]
        answers.append((time.monotonic(), found["model_deployment_crn"], found["uuid"]))
    between.wait(pace)
    return answer.ok


# %%
customers = Crowd(customer, callers).start()
count = wait("the first answers", lambda: customers.asked, until=lambda seen: seen > 50)
print(f"{count} answers of", *{crn.rpartition("/")[2][:8] for _, crn, _ in answers})

# %%
check(
    "Customers call, and no call failed",
    lambda: customers.failed == 0 and customers.asked > 50 and call().ok,
    saw=lambda: f"{customers.asked} calls, {customers.failed} failed",
    hint=[
        "Look at the number of failed calls: it is 0.",
        "Usually the model has no deployment: `call().text` in a cell shows the answer.",
        "Run the cells that begin `answers: list` and `customers = Crowd` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Deploy a new build
#
# The new function adds a version to its answers and reads the setting `SCALE` from its environment. You
# deploy it in larger pods. The workbench starts them beside the old ones and waits until each one is
# ready, which means that its function is loaded. Then it routes new calls to them. The old pods finish
# their calls and stop.

# %%
SECOND = """
import os
from watched import watched

scale = float(os.environ.get("SCALE", "1.0"))

def second(request):
    return {**watched(request), "version": 2, "scale": scale}
"""
ask("PUT", f"{prd}/files/second.py", data=SECOND.encode());

# %%
def build(file: str, function: str) -> str:
    number = ask("POST", builds, {"file_path": file, "function_name": function})["id"]
    return wait("the build to end", lambda: ask("GET", f"{builds}/{number}"), deadline=300,
                until=lambda seen: seen["status"] in ("built", "build failed"))["id"]


def deploy(build_id: str, **more) -> dict:
    path, size = f"{builds}/{build_id}/deployments", {"cpu": cpu, "memory": memory, "replicas": replicas}
    number = ask("POST", path, size | more)["id"]
    return wait("the deployment", lambda: ask("GET", f"{path}/{number}"), deadline=600,
                until=lambda seen: seen["status"] in ("deployed", "failed"))


# %%
def deployments() -> list[dict]:
    kept = [one["id"] for one in ask("GET", builds, params={"page_size": 100})["model_builds"]]
    return [one for number in kept for one in ask("GET", f"{builds}/{number}/deployments")["model_deployments"]]


def serving() -> dict:
    active = ask("GET", f"{prd}/models/{nearest['id']}")["active_deployment_id"]
    return next(one for one in deployments() if one["id"] == active)


# %% tags=["blank"]
before = serving()
newer = build("second.py", "second")
# blank: Name `after`: deploy the build `newer`.
# stub: after = before
# solution
after = deploy(newer)
# end of solution
wait("customers of the new deployment", lambda: Counter(crn for _, crn, _ in answers)[after["crn"]],
     until=lambda seen: seen > 50, deadline=120)
print("before", before["id"][:8], "→", "after", after["id"][:8], f"{after['cpu']} cpu, {after['memory']} GiB, {after['replicas']} pods")

# %%
table = pd.DataFrame(list(answers), columns=["at", "crn", "uuid"])
table["second"] = (table["at"] - table["at"].min()).astype(int)
names = {before["crn"]: "before", after["crn"]: "after"}
curve = table[table["crn"].isin(names)].groupby(["second", "crn"]).size().unstack(fill_value=0).rename(columns=names)
show.lines(curve.reset_index()[:-1], "second", list(curve.columns), "The new deployment takes over without a gap", unit="answers")

# %%
def late() -> int:
    stopped = wait("the old pods to end", lambda: next(one for one in deployments() if one["id"] == before["id"]),
                until=lambda seen: seen["status"] == "stopped", deadline=120)
    start = len(answers)
    wait("more answers", lambda: len(answers), until=lambda seen: seen > start + 30)
    return sum(crn == stopped["crn"] for _, crn, _ in answers[start:])


# %%
check(
    "The new build answers all calls, the old pods have stopped, and no call failed",
    lambda: call().json()["response"]["prediction"]["version"] == 2 and late() == 0 and customers.failed == 0,
    saw=lambda: f"{customers.asked:,} calls, {customers.failed} failed, {late()} late answers of the old deployment",
    hint=[
        "Look at the curves: one ends where the other begins.",
        "Usually the new deployment is not the active one: `serving()` in a cell shows which one is.",
        "Run the cells that begin `SECOND = ` and `before = serving` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Deploy a broken setting
#
# The setting `1,5` is not a number for Python. The build succeeds, because it does not know the settings of
# a deployment. The new pods fail when they read the setting, are restarted, and fail again. The
# deployment gets the status `failed` and the last line of the log. The old pods keep serving.

# %% tags=["blank"]
good = serving()
# blank: Name `failed`: deploy `newer` once more, with environment={"SCALE": "1,5"} and one replica.
# stub: failed = good
# solution
failed = deploy(newer, environment={"SCALE": "1,5"}, replicas=1)
# end of solution
print(failed["status"], "|", failed["reason"])

# %%
def reasons() -> list[str]:
    return [one["reason"] for one in deployments() if one["status"] == "failed"]


check(
    "The deployment with the wrong setting failed, and the one before it keeps serving",
    lambda: "could not convert string to float" in reasons()[-1] and serving()["id"] == good["id"]
    and call().json()["response"]["model_deployment_crn"] == good["crn"] and customers.failed == 0,
    saw=lambda: f"{reasons()[-1][:60]}…; {customers.failed} of {customers.asked:,} calls failed",
    hint=[
        "Look at the reason that was printed: it ends in the message of a ValueError.",
        "Usually the setting was written with a point, and the new deployment serves: "
        "`serving()['environment']` in a cell shows the settings.",
        "Run the cell that begins `good = serving` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Roll back
#
# A build is immutable, so the old one is still there, unchanged. A rollback is a deployment of the old
# build and works like any other: the current pods stop when the new ones are ready. One pod is enough now.

# %% tags=["blank"]
# blank: Name `back`: deploy the build of `before` again, with 0.5 cores and one replica.
# stub: back = serving()
# solution
back = deploy(before["build_id"], cpu=0.5, replicas=1)
# end of solution
wait("customers of the old build", lambda: Counter(crn for _, crn, _ in answers)[back["crn"]],
     until=lambda seen: seen > 50, deadline=120)
print("version" in call().json()["response"]["prediction"], back["replicas"], "pod")

# %%
check(
    "The old build serves again, in one pod, and no call failed",
    lambda: serving()["build_id"] == before["build_id"] and serving()["replicas"] == 1
    and "version" not in call().json()["response"]["prediction"] and customers.failed == 0,
    saw=lambda: f"build {serving()['build_id'][:8]}, {serving()['replicas']} pod, {customers.failed} failed",
    hint=[
        "Look at the answer: it has no version any more.",
        "Usually the newer build was deployed again: `serving()['build_id'], before['build_id']` in a cell.",
        "Run the cell that begins `back = deploy` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Count the calls
#
# The customers stop. Each answer must have a row in the metrics of the deployment that gave it.

# %%
customers.stop()


def recorded(crn: str) -> set[str]:
    found, token = set(), ""
    while token is not None:
        body = {"modelDeploymentCrn": crn, "page_size": 5_000, "page_token": token}
        page = http.post(f"{address}/read-metrics", json=body, timeout=60).json()
        found |= {one["predictionUuid"] for one in page["metrics"] if one["success"]}
        token = page["next_page_token"] or None
    return found


by_crn = Counter(crn for _, crn, _ in answers)
show.bars(pd.DataFrame([(crn.rpartition("/")[2][:8], count) for crn, count in by_crn.items()], columns=["deployment", "answers"]),
          "deployment", "answers", "Three deployments answered, and no call failed")

# %%
def lost() -> int:
    return len({uuid for _, _, uuid in answers} - set().union(*map(recorded, {crn for _, crn, _ in answers})))


check(
    "No call failed in any of the deployments, and each answer has its row",
    lambda: customers.failed == 0 and len({crn for _, crn, _ in answers}) >= 3 and lost() == 0,
    saw=lambda: f"{len(answers):,} answers of {len(by_crn)} deployments, {lost()} without a row",
    hint=[
        "Look at the bars: three deployments gave answers.",
        "Usually the customers were started again in between: `len(answers)` in a cell shows how many answers are left.",
        "Run the cells that begin `answers: list`, `customers = Crowd`, `before = serving`, `back = deploy` "
        "and `customers.stop` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **The deployment stays `deploying`**: the new pods do not fit on the node beside the old ones. Take
#   fewer replicas, or less memory.
# - **`failed: A replica does not load`**: the reason ends with the last line of the pod's log.
# - **Calls fail with 401**: the workbench was ordered again and has a new key. Run the setup again.

# %% [markdown]
# ## Exercise
#
# How long was the longest time without an answer? Compute it in seconds from the times in `answers`, and
# store it in `gap`.
#
# Hint: sort the times; `diff()` of a Series gives the differences.

# %% tags=["exercise"]
# stub: gap = 0.0
# solution
gap = float(pd.Series(sorted(at for at, _, _ in answers)).diff().max())
# end of solution
print(f"the longest time without an answer: {gap * 1000:.0f} ms")

# %% [markdown]
# ## Recap
#
# - The **load** lasted through three deployments, and no call failed.
# - The **new build** took over when all its pods were ready; the old pods finished their calls.
# - A deployment with a broken setting **failed**, and the one before it kept serving.
# - The **rollback** deployed the old build, unchanged, and every answer has its row.
#
# How Kubernetes replaces the pods of a Deployment: [its documentation](https://kubernetes.io/docs/concepts/workloads/controllers/deployment/);
# the workbench does the same between two builds. Another way to replace a service: [BlueGreenDeployment](https://martinfowler.com/bliki/BlueGreenDeployment.html).
#
# Next: train a model, and find out whether its score is too good to be true.

# %%
quiz(
    "When do the new pods get calls?",
    ["As soon as they are started", "When the old pods have stopped", "When all of them have loaded the function"],
    right=2,
    because="Pods that are not ready get no calls, and the old pods stay until the new ones are ready.",
)
quiz(
    "A deployment fails because of a setting. What do customers see?",
    ["Nothing", "Errors until somebody rolls back", "Answers of both versions"],
    right=0,
    because="The deployment before it keeps serving; the pods that failed never got a call.",
)
quiz(
    "Why does a rollback fail no calls?",
    ["The old pods are still running", "It is a deployment like any other", "It needs no pods"],
    right=1,
    because="The old build is deployed again: its pods start, become ready, and only then get calls.",
)

# %% [markdown]
# ## Clean up
#
# The deployment stays: it has the build of lab logistics-05. To stop the load in any case, type
# `finished = True` in a cell and run this one; running it twice is safe.

# %%
if finished:
    customers.stop()
print(f"Kept: {serving()['id'][:8]}, and the rows of {len(answers):,} calls")
