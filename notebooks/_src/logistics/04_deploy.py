# %% [markdown]
# # Lab logistics-04: Deploy two models
#
# Turn two functions into models behind a REST API, and promote them from a development project to production.

# %% [markdown]
# ## What you will build
#
# - Two **projects**, DEV and PRD, and a key that may call models in PRD but change nothing.
# - A **function** that gives the same answers as stumpy, to eight digits, in less time.
# - A **build** that fails and says why, and one that passes.
# - Two **deployments** in PRD: one finds the nearest window, one the motif of several signals.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab logistics-00 | The workbench that runs the models | `kubectl get kdcluster` |
# | Lab logistics-03 | It explains motifs and queries | Read it |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
dev_name: str = "fleet-DEV"  # the project of lab logistics-00
prd_name: str = "fleet-PRD"  # the project that serves
lorry: int = 0  # the lorry whose day the models search
replicas: int = 1  # pods of each model
finished: bool = False  # True: the clean-up stops the deployments

# %% [markdown]
# ## Setup

# %%
import io
import json

import numpy as np
import requests
import stumpy

from labhelpers import begin, check, data, quiz, settings, wait
from labhelpers.cluster import caller, cluster_of, connect
from labhelpers.spark import process

begin("logistics/04")
process.keep_compiled(stumpy)
place, k8s, source = settings(), connect(), data.fleet.find_fleet()
bench = f"workbench-{place.user}"
cluster_of("logistics/00", k8s, bench)
http, address = caller(k8s, bench, "Workbench", 10001)
admin = http.headers["X-Auth-Token"]

# %%
def send(verb: str, path: str, body: dict | None = None, key: str = "", **more) -> requests.Response:
    headers = {"Authorization": f"Bearer {key or admin}"}
    return http.request(verb, f"{address}/api/v2{path}", json=body, headers=headers, timeout=60, **more)


def ask(verb: str, path: str, body: dict | None = None, **more) -> dict:
    answer = send(verb, path, body, **more)
    answer.raise_for_status()
    return answer.json()


# %% [markdown]
# ## 1. Separate development from production
#
# In **DEV** you develop. Others depend on what runs in **PRD**, so only the administrator's key may change
# files there. Your own key gets the permission `operator`: it may call, start and stop. The workbench
# shows a key once and stores only its digest.

# %% tags=["blank"]
def project(name: str) -> str:
    found = ask("GET", "/projects", params={"search_filter": json.dumps({"name": name})})["projects"]
    made = found[0] if found else ask("POST", "/projects", {"name": name, "template": "local"})
    return f"/projects/{made['id']}"


dev, prd = project(dev_name), project(prd_name)
mine = ask("POST", f"/users/{place.user}/v2_keys", {"comments": "lab logistics-04"})["api_key"]
ask("PUT", f"{dev}/collaborators/{place.user}", {"permission": "write"})
# blank: Give place.user the permission `operator` in the project `prd`.
# solution
ask("PUT", f"{prd}/collaborators/{place.user}", {"permission": "operator"})
# end of solution
hello = {"data": b"print('hello')", "key": mine}
for name, where in {"DEV": dev, "PRD": prd}.items():
    answer = send("PUT", f"{where}/files/hello.py", **hello)
    print(name, answer.status_code, answer.json().get("message", ""))

# %%
def codes() -> list[int]:
    read = send("GET", prd, key=mine).status_code
    write = send("PUT", f"{prd}/files/hello.py", **hello).status_code
    return [read, write, send("GET", prd, key="nobody").status_code]


check(
    "Your key reads PRD and may not write there; a wrong key opens nothing",
    lambda: codes() == [200, 403, 401],
    saw=lambda: "read {}, write {}, wrong key {}".format(*codes()),
    hint=[
        "Look at the three codes: 200, 403 and 401.",
        "Usually your user has another permission in PRD, or the key was deleted: "
        '`ask("GET", prd)` in a cell shows the project.',
        "Run the cell that begins `def project(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Write the function, and test it
#
# A model is a **function** that takes a dictionary and returns a JSON value. `stumpy.mass` computes the
# means and deviations of all windows at every call. The series of a model does not change, so this
# function computes them once for each length of a pattern; a call is then one product of a matrix and a
# vector. The function refuses bad input with a message.

# %%
PREDICT = """
import json
from functools import lru_cache
import numpy as np

series = np.array(json.load(open("series.json")))

@lru_cache(64)
def shapes(size):
    windows = np.lib.stride_tricks.sliding_window_view(series, size)
    deviation = windows.std(axis=1, keepdims=True)
    return (windows - windows.mean(axis=1, keepdims=True)) / np.where(deviation, deviation, np.inf)

def distances(pattern):
    size = len(pattern)
    shape = (pattern - pattern.mean()) / pattern.std()
    return np.sqrt(np.maximum(2 * (size - shapes(size) @ shape), 0))

"""

# %% tags=["blank"]
CONSTANT = ""
# blank: Complete `predict`: refuse a pattern that has no deviation with a ValueError, before `found`.
# solution
CONSTANT = """
    if pattern.std() == 0:
        raise ValueError("A constant pattern has no shape; send one that changes.")
"""
# end of solution
PREDICT += f"""
def predict(request):
    pattern = np.array(request["pattern"], dtype=float)
    if pattern.ndim != 1 or not 3 <= len(pattern) <= len(series) // 2 or not np.isfinite(pattern).all():
        raise ValueError(f"Expected a list of 3 to {{len(series) // 2}} finite numbers in pattern.")
{CONSTANT}
    found = distances(pattern)
    best = int(found.argmin())
    return {{"data": request["pattern"], "nearest_neighbor": best, "distance": float(found[best]),
            "window": series[best : best + len(pattern)].tolist()}}
"""

# %%
events = data.fleet.read_events(source).sort_values("event_ts")
name = sorted(events["device_id"].unique())[lorry]
day = events[events["device_id"] == name]
ask("PUT", f"{dev}/files/series.json", data=json.dumps(day["iot_signal_3"].tolist()).encode())
ask("PUT", f"{dev}/files/predict.py", data=PREDICT.encode());

# %% [markdown]
# Test the uploaded file before you build it: for patterns of several lengths it must give the distances
# that stumpy gives, and it must refuse a constant pattern.

# %%
def content(where: str, file: str) -> bytes:
    answer = send("GET", f"{where}/files/{file}")
    answer.raise_for_status()
    return answer.content


def loaded(where: str) -> dict:
    names = {"open": lambda file: io.BytesIO(content(where, file))}
    exec(content(where, "predict.py"), names)
    return names


# %%
def farthest(where: str) -> float:
    names, dice = loaded(where), np.random.default_rng(1)
    patterns = [dice.normal(52, 1, size) for size in (4, 30, 200)]
    return max(abs(names["distances"](one) - stumpy.mass(one, names["series"])).max() for one in patterns)


def refuses(where: str) -> str:
    try:
        loaded(where)["predict"]({"pattern": [5, 5, 5, 5]})
    except ValueError as refused:
        return str(refused)
    return ""


# %%
check(
    "The function in DEV equals stumpy to eight digits, and refuses a constant pattern",
    lambda: farthest(dev) < 1e-8 and "constant" in refuses(dev),
    saw=lambda: f"differences up to {farthest(dev):.0e}; {refuses(dev) or 'a constant pattern is answered'}",
    hint=[
        "Look at the difference and at the message of the refusal.",
        "Usually the project holds an older file: "
        '`print(content(dev, "predict.py").decode())` in a cell shows it.',
        "Run the cells that begin `PREDICT = `, `CONSTANT = ` and `events = data` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Build it in PRD
#
# A **build** is an immutable copy of the project, made only if the function can be loaded. First build a
# file with an import error: the build fails, its log says why, and running deployments are not affected.
# Then promote the files from DEV to PRD, and build again.

# %%
def model(name: str) -> str:
    found = ask("GET", f"{prd}/models", params={"search_filter": json.dumps({"name": name})})["models"]
    made = found[0] if found else ask("POST", f"{prd}/models", {"name": name})
    return f"{prd}/models/{made['id']}"


def build(where: str, file: str, function: str) -> dict:
    number = ask("POST", f"{where}/builds", {"file_path": file, "function_name": function})["id"]
    return wait("the build to end", lambda: ask("GET", f"{where}/builds/{number}"),
                until=lambda seen: seen["status"] in ("built", "build failed"), deadline=180)


nearest = model("nearest-window")
ask("PUT", f"{prd}/files/broken.py", data=b"import numpi\n")
broken = build(nearest, "broken.py", "predict")
print(broken["status"], str(broken).split("Error")[-1][:60])

# %% tags=["blank"]
for file in ("series.json", "predict.py"):
    # blank: Promote: PUT into prd the content that dev has of `file`.
    # stub: ask("PUT", f"{prd}/files/{file}", data=b"predict = None")
    # solution
    ask("PUT", f"{prd}/files/{file}", data=content(dev, file))
    # end of solution
good = build(nearest, "predict.py", "predict")
print(good["status"])

# %%
def builds() -> list[str]:
    return [one["status"] for one in ask("GET", f"{nearest}/builds", params={"page_size": 100})["model_builds"]]


check(
    "One build failed, the newest is built, and PRD has the file of DEV",
    lambda: "build failed" in builds() and builds()[-1] == "built"
    and content(prd, "predict.py") == content(dev, "predict.py"),
    saw=lambda: ", ".join(builds()),
    hint=[
        "Look at the list: the last build must be `built`.",
        "Usually a file was not promoted: `print(good)` in a cell shows the build and its log.",
        "Run the cells that begin `def model(` and `for file in (` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Deploy and call
#
# A **deployment** runs a build in pods. All models have the same address: the **access key** in the body
# names the model, and the API key in the header identifies the caller. The answer names the deployment
# that gave it, and a `uuid` under which the metrics of the call are stored.

# %%
def deploy(where: str, build_id: str) -> dict:
    path = f"{where}/builds/{build_id}/deployments"
    number = ask("POST", path, {"cpu": 0.5, "memory": 0.5, "replicas": replicas})["id"]
    return wait("the deployment", lambda: ask("GET", f"{path}/{number}"),
                until=lambda seen: seen["status"] in ("deployed", "failed"), deadline=240)


def call(where: str, request: dict, key: str = "") -> requests.Response:
    body = {"accessKey": ask("GET", where)["access_key"], "request": request}
    return http.post(f"{address}/model", json=body, headers={"Authorization": f"Bearer {key or mine}"}, timeout=60)


print(deploy(nearest, good["id"])["status"])
print(json.dumps(call(nearest, {"pattern": [54, 53, 52, 51]}).json(), indent=1)[:600])

# %%
def answered() -> dict:
    return call(nearest, {"pattern": [54, 53, 52, 51]}).json()["response"]["prediction"]


def expected() -> int:
    series = np.array(json.loads(content(prd, "series.json")))
    return int(stumpy.mass(np.array([54.0, 53.0, 52.0, 51.0]), series).argmin())


# %%
check(
    "The model answers as stumpy does, refuses bad input with 422, and a wrong key with 401",
    lambda: answered()["nearest_neighbor"] == expected() and call(nearest, {"pattern": [5, 5, 5]}).status_code == 422
    and call(nearest, {"pattern": [1, 2, 3]}, key="nobody").status_code == 401,
    saw=lambda: f"window {answered()['nearest_neighbor']}, distance {answered()['distance']:.3f}",
    hint=[
        "Look at the window: stumpy names the same one.",
        "Usually nothing is deployed yet: "
        '`call(nearest, {"pattern": [1, 2, 4]}).text` in a cell shows the answer.',
        "Run the cells that begin `for file in (` and `def deploy(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Deploy the second model
#
# The second function takes several signals and finds the motif of one, two, three and four of them. Its
# first version returns a numpy array. A notebook shows it, but it is not JSON, so every call fails. Test a
# model by calling its endpoint.

# %%
MOTIF = """
import numpy as np

def nearest(lane, size=60):
    windows = np.lib.stride_tricks.sliding_window_view(lane, size)
    shape = (windows - windows.mean(axis=1, keepdims=True)) / windows.std(axis=1, keepdims=True)
    found = np.maximum(2 * (size - shape @ shape.T), 0)
    rows, columns = np.indices(found.shape, sparse=True)
    found[abs(rows - columns) <= size // 4] = np.inf  # a window is no match of itself
    return np.sqrt(found)

def motif(request):
    lanes = np.array(list(request["data"].values()), dtype=float)
    if lanes.ndim != 2 or not 120 <= lanes.shape[1] <= 2000:
        raise ValueError("Expected signals of 120 to 2,000 numbers each in data.")
    best = np.sort([nearest(lane) for lane in lanes], axis=0).cumsum(axis=0)
    return {"motif_discovered": best.min(axis=2).argmin(axis=1)}
"""

# %% tags=["blank"]
finder = model("motif-finder")
ask("PUT", f"{prd}/files/array.py", data=MOTIF.encode())
signals = {"data": {f"signal_{number}": day[f"iot_signal_{number}"].tolist() for number in (1, 2, 3, 4)}}
deploy(finder, build(finder, "array.py", "motif")["id"])
print(call(finder, signals).status_code, call(finder, signals).text[:200])
# blank: Name FIXED: MOTIF with .tolist() behind .argmin(axis=1).
# stub: FIXED = MOTIF
# solution
FIXED = MOTIF.replace(".argmin(axis=1)", ".argmin(axis=1).tolist()")
# end of solution
ask("PUT", f"{prd}/files/motif.py", data=FIXED.encode())
deploy(finder, build(finder, "motif.py", "motif")["id"])
print(call(finder, signals).json()["response"].get("prediction"))

# %%
def motifs() -> list[int]:
    return call(finder, signals).json()["response"]["prediction"]["motif_discovered"]


def planted() -> list[int]:
    return data.fleet.read_truth(source)["planted"][name]["motif"]


check(
    "The second model returns JSON, and its motif of two signals is the refuel stop",
    lambda: len(motifs()) == 4 and min(abs(motifs()[1] - one) for one in planted()) <= 5,
    saw=lambda: f"motifs of one to four signals at {motifs()}",
    hint=[
        "Look at the second number: one of the two refuel stops begins there.",
        "Usually the function still returns an array: "
        '`print(call(finder, signals).text[:300])` in a cell shows the error.',
        "Run the cell that begins `finder = model(` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`build failed`**: the log in the build says which import or name is missing.
# - **503**: the model has no deployment that is ready. Wait for `deployed`.
# - **500, `not JSON`**: the function returned an array or a NaN. Return lists of finite numbers; `tolist()`
#   makes one of an array.

# %% [markdown]
# ## Exercise
#
# Does the model answer differently when each number of a pattern is a hundred times as large? Store the
# nearest windows of both patterns in `windows`.
#
# Hint: `call(nearest, …)` answers with the window's number in `nearest_neighbor`.

# %% tags=["exercise"]
# stub: windows = []
# solution
small = [1.0, 2.0, 1.5, 4.0]
windows = [call(nearest, {"pattern": [scale * one for one in small]}).json()["response"]["prediction"]["nearest_neighbor"]
           for scale in (1, 100)]
# end of solution
print(windows)

# %% [markdown]
# ## Recap
#
# - **DEV** and **PRD** have different permissions, and your key has those of your user.
# - The **function** was compared with stumpy before it was built.
# - A **build** that cannot load failed, and its log says why.
# - Two **deployments** answer in PRD, and refuse bad input with a message.
#
# More: [Deployments in Kubernetes](https://kubernetes.io/docs/concepts/workloads/controllers/deployment/),
# [fast similarity search with MASS](https://www.cs.unm.edu/~mueen/FastestSimilaritySearch.html).
#
# Next: more than a thousand calls, and what they leave behind.

# %%
quiz(
    "Why does a build load the function?",
    ["To make calls faster", "So that code that cannot load never replaces a running model", "To keep the log short"],
    right=1,
    because="A build that fails cannot be deployed, so the running deployment stays.",
)
quiz(
    "What does the access key in a call's body do?",
    ["It names the model", "It proves who you are", "It encrypts the request"],
    right=0,
    because="The access key names the model; the API key in the header authorises the caller.",
)
quiz(
    "A function works in the notebook and fails behind the endpoint. What is a usual reason?",
    ["The endpoint rounds numbers", "Pods have no numpy", "Its answer is not JSON"],
    right=2,
    because="A notebook can show an array; an endpoint must encode its answer as JSON.",
)

# %% [markdown]
# ## Clean up
#
# The next labs call these models. To stop them, type `finished = True` in a cell and run this one;
# running it twice is safe.

# %%
if finished:
    for one in (nearest, finder):
        for kept in ask("GET", f"{one}/builds", params={"page_size": 100})["model_builds"]:
            for running in ask("GET", f"{one}/builds/{kept['id']}/deployments")["model_deployments"]:
                send("POST", f"{one}/builds/{kept['id']}/deployments/{running['id']}:stop")
print("Stopped: the deployments of PRD" if finished else f"Kept: two models in {prd_name}")
