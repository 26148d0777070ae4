# %% [markdown]
# # Lab core-06: Serve
#
# Ask your service for predictions: one ride, many rides, wrong rides, and more than one at a time.

# %% [markdown]
# ## What you will build
#
# - A **prediction** over HTTPS, with a token, by `curl` and by Python.
# - A **map** of routes, coloured by how long the service thinks they take.
# - A picture of **latency** under load, before and after you double the workers while it runs.
#
# ![Requests reach the load balancer through the gateway; it spreads them over one worker, then over
# two, without a request failing.](../../Pictures/core-06-serve.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-05 | The engine that serves your model | `kubectl get kdcluster` |
# | The zone lookup | Coordinates of the rides you ask about | it comes with the labs |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
model_name: str = "ride-duration"  # the model to ask
model_version: str = "1"  # which version of it
rides: int = 200  # how many routes the map shows
requests_sent: int = 400  # how many requests the small load sends
callers: int = 8  # how many of them are under way at once

# %% [markdown]
# ## Setup

# %%
import json
import time
from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import requests

from labhelpers.check import begin, check
from labhelpers.cluster import KUBEDIRECTOR, connect, endpoints, token, wait_configured
from labhelpers.data import zones_file
from labhelpers.prerequisite import cluster_of, file_of
from labhelpers.quiz import quiz
from labhelpers.settings import settings
from labhelpers.show import table
from labhelpers.wait import wait

# %%
begin("core/06")
place, k8s = settings(), connect()
engine = cluster_of("core-05", k8s, f"inference-server-{place.user}")["metadata"]["name"]
models = place.project_repo / "models" / place.user
card = json.loads(file_of("core-04", models / f"{model_name}-{model_version}.json").read_text())

# %% [markdown]
# ## 1. Find the address and the token
#
# The service of the load balancer knows both: the gateway wrote its address there, KubeDirector
# its **token**, 32 characters that every caller must show. Older guides cut them out of printed
# text with `grep` and `awk`; you ask for the field.
#
# ```bash
# ENGINE="kubedirector.hpe.com/kdcluster=inference-server-$EZMERAL_USER,kubedirector.hpe.com/role=LoadBalancer"
# ADDRESS=$(kubectl get service -l "$ENGINE" \
#   -o jsonpath='{.items[0].metadata.annotations.hpecp-internal-gateway/32700}')
# TOKEN=$(kubectl get service -l "$ENGINE" \
#   -o jsonpath='{.items[0].metadata.annotations.kubedirector\.hpe\.com/kd-auth-token}')
# curl --silent --cacert "$EZMERAL_CA" --header "X-Auth-Token: $TOKEN" "https://$ADDRESS/models"
# ```

# %%
address = endpoints(k8s, engine, "LoadBalancer")[32700]
http = requests.Session()
http.verify, http.trust_env = str(place.ca), False
http.headers["X-Auth-Token"] = token(k8s, engine, "LoadBalancer")
url = f"{address}/{model_name}/{model_version}/predict"
print(url, f"(the token has {len(http.headers['X-Auth-Token'])} characters)")

# %%
check(
    "The service is healthy and knows your model",
    lambda: f"{model_name}/{model_version}" in [
        f"{one.get('name')}/{one.get('version')}"
        for one in http.get(f"{address}/models", timeout=10).json()["models"]
    ],
    saw=lambda: http.get(f"{address}/health", timeout=10).json(),
    hint="Run lab core-05: its engine is what you ask here.",
)

# %% [markdown]
# ## 2. Predict one ride
#
# A ride is a JSON object with one entry per feature. `use_scoring` asks for the scoring script.
# The answer carries the text as published, `output`, and the numbers, `predictions`.

# %%
lookup = pd.read_csv(zones_file()).set_index("LocationID")
start, end = lookup.loc[161], lookup.loc[132]  # Midtown Center to JFK Airport


def ride(one, other, hour: int = 17, weekday: bool = True, month: int = 3) -> dict[str, float]:
    east = (other.longitude - one.longitude) * 52.4  # miles for a degree at this latitude
    north = (other.latitude - one.latitude) * 69.0
    values = {
        "work": float(weekday and 8 <= hour < 18),
        "start_latitude": one.latitude, "start_longitude": one.longitude,
        "end_latitude": other.latitude, "end_longitude": other.longitude,
        "trip_distance": 1.3 * float(np.hypot(east, north)),
        "weekday": float(weekday), "hour": float(hour),
    }
    values |= {f"month_{number}": float(number == month) for number in range(1, 7)}
    return {name: float(values[name]) for name in card["features"]}


# %% [markdown]
# The helper below turns two zones and a time into the features of one ride. It is the caller's side
# of the bargain: the service promises to answer for exactly these columns, and the caller promises to
# fill them as the training did. The distance is a guess here, a third longer than the straight line,
# because the ride has not happened yet. In a real application it would come from a route planner.

# %%
body = {"use_scoring": True, "scoring_args": ride(start, end)}
answer = http.post(url, json=body, timeout=10)
minutes = answer.json()["predictions"][0] / 60
print(f"{start.Zone} to {end.Zone} on a weekday at five: {minutes:.0f} minutes")

# %% [markdown]
# The answer arrives in milliseconds. Most of that time is spent on the way: TLS at the gateway, the
# balancer's choice of a worker, and the wait of at most a moment for other callers to join the batch.
# The prediction itself takes well under one millisecond, which is why batching pays.

# %%
check(
    "One ride has a sensible prediction",
    lambda: answer.status_code == 200 and 10 < minutes < 180,
    saw=f"{minutes:.0f} minutes",
    hint="A 401 means the token is missing; a 404 lists the models there are.",
)

# %% [markdown]
# ## 3. Predict many rides and draw them
#
# One call takes many rows, and costs little more than one. Ask for random routes at once, and
# look: long lines should be dark, and crossing the river should cost.
#
# All rows travel in one request and come back as numbers in the same order.
# Draw each route as a line from its start to its end. The colours run from light for short rides to
# dark for long ones; this scale stays readable in print and for people who see colours differently.

# %%
generator = np.random.default_rng(7)
pairs = generator.choice(lookup.index[lookup.index < 264], size=(rides, 2))
routes = [(lookup.loc[one], lookup.loc[other]) for one, other in pairs]
asked = [ride(one, other) for one, other in routes]
answer = http.post(url, json={"use_scoring": True, "scoring_args": asked}, timeout=30)
predicted = np.array(answer.json()["predictions"]) / 60

figure, axis = plt.subplots(figsize=(7, 6))
colours = plt.cm.viridis_r(np.clip(predicted / predicted.max(), 0, 1))
for (one, other), colour in zip(routes, colours, strict=True):
    axis.plot([one.longitude, other.longitude], [one.latitude, other.latitude], color=colour, lw=1)
axis.scatter(lookup.longitude, lookup.latitude, s=4, color="0.4")
scale = plt.Normalize(0, predicted.max())
figure.colorbar(plt.cm.ScalarMappable(scale, "viridis_r"), ax=axis, label="predicted minutes")
axis.set(title=f"{rides} routes on a weekday at five", xlabel="longitude", ylabel="latitude")
plt.show()

# %% [markdown]
# Look for what you know of the city. Rides inside Manhattan are light although they are slow, since
# they are short. Lines to the airports are dark. If a short line were dark, or the map looked like
# confetti, the features would have reached the model in another order than at training: the service
# would answer with status 200 and be wrong all the same. Pictures find such faults faster than tests.

# %%
distances = np.array([one["trip_distance"] for one in asked])
check(
    "Longer routes take longer, and every route has a prediction",
    lambda: len(predicted) == rides and np.corrcoef(distances, predicted)[0, 1] > 0.6,
    saw=lambda: f"correlation of distance and time {np.corrcoef(distances, predicted)[0, 1]:.2f}",
    hint="If the numbers look random, the features are in another order than at training.",
)

# %% [markdown]
# ## 4. Send bad requests on purpose
#
# Callers make mistakes. A good service says which one it was and goes on. Read each answer: the
# status says whose fault it is (4xx yours, 5xx the service's), the text what was expected.

# %%
good = ride(start, end)
mistakes = {
    "no token": ({"X-Auth-Token": ""}, url, {"use_scoring": True, "scoring_args": good}),
    "unknown model": ({}, url.replace(model_name, "boat"), {"use_scoring": True, "scoring_args": good}),
    "feature missing": ({}, url, {"use_scoring": True, "scoring_args": {"hour": 17}}),
    "text for a number": ({}, url, {"use_scoring": True, "scoring_args": good | {"hour": "noon"}}),
}
answers = {
    name: http.post(where, json=body, headers=headers, timeout=10)
    for name, (headers, where, body) in mistakes.items()
}
table([[name, one.status_code, one.json()["error"][:90]] for name, one in answers.items()],
      columns=["mistake", "status", "what the service says"])

# %% [markdown]
# Nothing here is a stack trace, and nothing tells a stranger about other people's models. The texts
# name what was expected, so the caller can mend the request without asking you. Rows are checked
# before the model sees them; one bad request in a batch does not spoil the answers of the others.

# %%
check(
    "Every mistake was the caller's, and the next request is served",
    lambda: all(400 <= one.status_code < 500 for one in answers.values())
    and http.post(url, json=body, timeout=10).status_code in (200, 422),
    saw=lambda: ", ".join(f"{name}: {one.status_code}" for name, one in answers.items()),
    hint="A 500 would be a bug of the service: `kubectl logs` of a RESTServer pod shows it.",
)

# %% [markdown]
# ## 5. Put a small load on it
#
# **Latency** is how long one caller waits. An average hides the unlucky ones, so you look at the
# middle (p50) and at the slowest in a hundred (p99).

# %%
def load(count: int, at_once: int) -> tuple[np.ndarray, int]:
    def call(_: int) -> tuple[float, bool]:
        began = time.perf_counter()
        reply = http.post(url, json={"use_scoring": True, "scoring_args": good}, timeout=30)
        return (time.perf_counter() - began) * 1000, reply.status_code == 200

    with ThreadPoolExecutor(at_once) as pool:
        seen = list(pool.map(call, range(count)))
    return np.array([took for took, _ in seen]), sum(not fine for _, fine in seen)


before, failed = load(requests_sent, callers)
print(f"p50 {np.percentile(before, 50):.1f} ms, p99 {np.percentile(before, 99):.1f} ms, {failed} failed")

# %% [markdown]
# If p99 is many times p50, requests queue somewhere: most callers are served at once, and a few wait
# for a turn. On a laptop the other programs that share its two or four processors are part of what you
# measure, so compare curves of the same run and never numbers of two machines.

# %% [markdown]
# The engine counts for itself, in the form that Prometheus reads. `/metrics` is what an operator's
# dashboard is made of.

# %%
metrics = requests.get(f"{address}/metrics", verify=str(place.ca), timeout=10).text
print("\n".join(line for line in metrics.splitlines() if "requests_total" in line))

# %%
check(
    "The load was answered without a failure",
    lambda: failed == 0 and len(before) == requests_sent,
    saw=f"{requests_sent} requests, {failed} failed",
    hint="Fewer `callers` make it gentler; failures are in the log of the LoadBalancer pod.",
)

# %% [markdown]
# ## 6. Double the workers while it runs
#
# Change one number in the manifest, `members`, and KubeDirector adds a worker. The load goes on
# meanwhile: the balancer sends to the new one when it is ready, not earlier.
#
# ```bash
# kubectl get pod -l "kubedirector.hpe.com/kdcluster=inference-server-$EZMERAL_USER"
# ```

# %%
where = {**KUBEDIRECTOR, "namespace": k8s.namespace, "plural": "kubedirectorclusters"}


def scale_to(members: int) -> None:
    spec = k8s.custom.get_namespaced_custom_object(name=engine, **where)["spec"]
    roles = [
        one | ({"members": members} if one["id"] == "RESTServer" else {}) for one in spec["roles"]
    ]
    k8s.custom.patch_namespaced_custom_object(name=engine, body={"spec": {"roles": roles}}, **where)


scale_to(2)
during, failed_during = load(requests_sent, callers)
cluster = wait_configured(k8s, engine)

# %% [markdown]
# Three things happened while the load ran: KubeDirector changed the number of replicas, the new
# worker loaded the model from the project repository, and the balancer began to send to it after its
# first successful health check. The patch named the whole list of roles, because a list in a merge
# patch is replaced and not merged: whoever forgets one role removes it.

# %%
after, failed_after = load(requests_sent, callers)
figure, axis = plt.subplots(figsize=(7, 3.5))
for values, name in ((before, "one worker"), (during, "while scaling"), (after, "two workers")):
    axis.plot(np.sort(values), np.linspace(0, 100, len(values)), label=name)
axis.set(xlabel="milliseconds", ylabel="% of requests answered", xscale="log", title="Latency")
axis.legend()
plt.show()

# %% [markdown]
# Two workers on a laptop share its processors, so do not expect half the time. What counts is in
# the middle curve: the service grew and nobody was turned away.

# %%
def workers() -> int:
    selector = f"kubedirector.hpe.com/kdcluster={engine},kubedirector.hpe.com/role=RESTServer"
    pods = k8s.core.list_namespaced_pod(k8s.namespace, label_selector=selector).items
    return sum(pod.status.phase == "Running" for pod in pods)


check(
    "Two workers serve, and no request failed on the way",
    lambda: wait("two workers", workers, until=lambda seen: seen == 2) == 2
    and failed_during + failed_after == 0,
    saw=lambda: f"{workers()} workers, {failed_during + failed_after} failed requests",
    hint="`kubectl describe kdcluster` says whether the second pod found room.",
)

# %% [markdown]
# ## If it does not work
#
# - **401**: the token is missing or of another engine. Read it from the service again (step 1).
# - **502 or 503 page**: the gateway is there and the engine is not yet. Wait for `configured`.
# - **A worker was killed**: the balancer sends its requests to the other one, and Kubernetes starts
#   a new one. Run the load again and watch.

# %% [markdown]
# ## Exercise
#
# At which hour is the ride from Midtown to JFK the slowest? Ask for all 24 hours in one call and
# store the slowest hour in `slowest`.
#
# Hint: `ride(start, end, hour=…)` makes one row; `scoring_args` takes a list.

# %% tags=["exercise"]
# stub: slowest = None
# solution
day = [ride(start, end, hour=hour) for hour in range(24)]
reply = http.post(url, json={"use_scoring": True, "scoring_args": day}, timeout=10)
slowest = int(np.argmax(reply.json()["predictions"]))
# end of solution
print(slowest)

# %% [markdown]
# ## Recap
#
# - You asked for **one prediction** and for many, and drew them on a map.
# - You know what the service says to **bad requests**.
# - You measured **latency**, and doubled the workers while it ran.
#
# Next: new data arrives, and the pipeline begins to move.

# %%
quiz(
    "Why look at p99 and not at the average?",
    ["It is smaller", "The average hides the callers who wait longest", "It is easier to compute"],
    right=1,
    because="With a hundred calls to a page, nearly every visitor meets the slowest one in a hundred.",
)
quiz(
    "One call with 100 rows or 100 calls with one row?",
    ["The same", "One call with 100 rows", "100 calls"],
    right=1,
    because="The model works on all rows at once, and the way there and back is paid once.",
)
quiz(
    "A caller sends text where a number belongs. Which status is right?",
    ["200 with a guess", "A 4xx that says what was expected", "500"],
    right=1,
    because="It is the caller's mistake, and the answer should help to mend it.",
)

# %% [markdown]
# ## Clean up
#
# The second worker goes, the engine stays for the last lab. Running this twice is safe.

# %%
scale_to(1)
print(f"Kept for the last lab: {engine}, {wait_configured(k8s, engine)['status']['state']}.")
