# %% [markdown]
# # Lab core-06: Serve
#
# Ask your service for predictions: one ride, many rides, wrong rides, and more than one at a time.

# %% [markdown]
# ## What you will build
#
# - A **prediction** over HTTPS, with a token, by `curl` and by Python.
# - A **map** of the city, coloured by how long the service thinks a ride to each zone takes.
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
origin: int = 161  # the zone where all rides of the map begin: 161 is Midtown Center
requests_sent: int = 400  # how many requests the small load sends
callers: int = 8  # how many of them are under way at once
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup

# %%
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import requests
from scipy.spatial import KDTree

from labhelpers import Crowd, begin, check, quiz, settings, show, wait, workspace
from labhelpers.cluster import KUBEDIRECTOR, cluster_of, connect, endpoints, served, token, wait_configured
from labhelpers.data import zones_file

# %%
begin("core/06")
show.style()
place, k8s = settings(), connect()
engine = cluster_of("core-05", k8s, f"inference-server-{place.user}")["metadata"]["name"]

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
features = served(http, address)[f"{model_name}/{model_version}"]["features"]
print(url, f"(the token has {len(http.headers['X-Auth-Token'])} characters)")

# %%
check(
    "The service is healthy and knows your model",
    lambda: http.get(f"{address}/health", timeout=10).ok
    and f"{model_name}/{model_version}" in served(http, address),
    saw=lambda: f"{', '.join(served(http, address))} at {address}",
    hint=[
        "Look at what was found: an address, and the models that are served there.",
        "Usually the token is of another engine, the engine is not configured yet, or it serves "
        f"another version: `kubectl get kdcluster {engine}` in a terminal shows how it is.",
        "Run the cell that begins `address = endpoints(` again, then this one. Is your model not "
        "among those served? Run lab core-05 again.",
    ],
)

# %% [markdown]
# ## 2. Predict one ride
#
# A ride is a JSON object with one entry per feature; `GET /models` of the service names them. The helper
# `ride` turns two zones and a time into the features of one ride. This is the contract: the service
# answers for exactly these columns, and the caller fills them as the training did. All of them are
# known before the ride: the two places, the straight line between them in miles, and New York's clock.

# %%
lookup = pd.read_csv(zones_file()).set_index("LocationID")
start, end = lookup.loc[origin], lookup.loc[132]  # to JFK Airport


def ride(one, other, hour: int = 17, weekday: bool = True, month: int = 3) -> dict[str, float]:
    east = (other.longitude - one.longitude) * 52.4  # miles for a degree at this latitude
    north = (other.latitude - one.latitude) * 69.0
    values = {
        "work": float(weekday and 8 <= hour < 18),
        "start_latitude": one.latitude, "start_longitude": one.longitude,
        "end_latitude": other.latitude, "end_longitude": other.longitude,
        "straight_miles": float(np.hypot(east, north)),
        "weekday": float(weekday), "hour": float(hour),
    }
    values |= {f"month_{number}": float(number == month) for number in range(1, 13)}
    return {name: float(values[name]) for name in features}


# %% [markdown]
# Ask with `curl` first. The body of the request is a file, so you can read what travels. The cell writes
# it; the lines below send it from a terminal.

# %%
body = {"use_scoring": True, "scoring_args": ride(start, end)}
(workspace("requests") / "ride.json").write_text(json.dumps(body, indent=1), "utf-8")
print(json.dumps(body, indent=1))

# %% [markdown]
# ```bash
# ENGINE="kubedirector.hpe.com/kdcluster=inference-server-$EZMERAL_USER,kubedirector.hpe.com/role=LoadBalancer"
# ADDRESS=$(kubectl get service -l "$ENGINE" \
#   -o jsonpath='{.items[0].metadata.annotations.hpecp-internal-gateway/32700}')
# TOKEN=$(kubectl get service -l "$ENGINE" \
#   -o jsonpath='{.items[0].metadata.annotations.kubedirector\.hpe\.com/kd-auth-token}')
# curl --silent --fail-with-body --cacert "$EZMERAL_CA" --header "X-Auth-Token: $TOKEN" \
#   --json "@$PROJECT_REPO/requests/$EZMERAL_USER/ride.json" "https://$ADDRESS/ride-duration/1/predict"
# ```
#
# `use_scoring` asks for the scoring script. The answer carries the text as published, `output`, and
# the numbers, `predictions`, in seconds. Now the same from Python.

# %% tags=["blank"]
def ask(rides: dict | list[dict]) -> requests.Response:
    return http.post(url, json={"use_scoring": True, "scoring_args": rides}, timeout=30)


def minutes(rides: dict | list[dict]) -> np.ndarray:
    answer = ask(rides)
    answer.raise_for_status()
    # blank: Return the answer's `predictions`, which are seconds, as an array of minutes.
    # solution
    return np.array(answer.json()["predictions"]) / 60
    # end of solution
    # stub: return np.zeros(1)


print(ask(ride(start, end)).json())
print(f"{start.Zone} to {end.Zone} on a weekday at five: {minutes(ride(start, end))[0]:.0f} minutes")

# %% [markdown]
# The answer arrives within some milliseconds. They are spent on the way: TLS at the gateway, the
# balancer's choice of a worker, and the wait of at most a moment for other callers to join the batch.
# The prediction itself takes a millisecond or two, for a hundred rides hardly longer than for one,
# which is why batching pays.

# %%
check(
    "One ride has a sensible prediction",
    lambda: 10 < minutes(ride(start, end))[0] < 180,
    saw=lambda: f"{minutes(ride(start, end))[0]:.0f} minutes",
    hint=[
        "Look at the answer above: a number of seconds, or a sentence that says what is wrong?",
        "A 401 means that the token is missing or of another engine, a 404 that the model has another "
        "name or version: `print(ask(ride(start, end)).text)` in a cell shows the service's words.",
        "Run the cells that begin `address = endpoints(` and `lookup = pd.read_csv` again.",
    ],
)

# %% [markdown]
# ## 3. Predict many rides and draw them
#
# One call takes many rows, and costs little more than one: all rows travel in one request, and come
# back as numbers in the same order. Ask for the rides from one zone to every zone of the city, and
# colour each zone by the answer. The colours run from light for short rides to dark for long ones; this
# scale stays readable in print and for people who see colours differently.
#
# The lookup has the centre of each zone and not its border, so the map gives every point of the city to
# the nearest centre. White lines are the borders of the boroughs.

# %% tags=["blank"]
places = lookup[lookup.index < 264]
# blank: Make the features of every ride: a list with one `ride` from `start` to each row of `places`.
# stub: asked = [ride(start, end)] * len(places)
# solution
asked = [ride(start, place) for place in places.itertuples()]
# end of solution
predicted = minutes(asked)

# %%
west, east, south, north = -74.28, -73.68, 40.50, 40.92
x, y = np.meshgrid(np.linspace(west, east, 500), np.linspace(south, north, 500))
miles = np.array([52.4, 69.0])  # in a degree, at this latitude
away, nearest = KDTree(places[["longitude", "latitude"]] * miles).query(np.dstack([x, y]) * miles)
boroughs = places["Borough"].astype("category").cat.codes.to_numpy()

figure, axis = plt.subplots(figsize=(7, 6.2))
shown = axis.pcolormesh(x, y, np.where(away < 1.1, predicted[nearest], np.nan), cmap="viridis_r")
axis.contour(x, y, np.where(away < 1.1, boroughs[nearest], -1), levels=np.arange(-0.5, 6), colors="white")
for borough, there in places.groupby("Borough"):
    aside = (-75, 12) if borough == "Manhattan" else (0, 0)  # not over the many zones of the middle
    axis.annotate(borough, (there.longitude.median(), there.latitude.median()), aside, ha="center", textcoords="offset points",
                  bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5})
axis.plot(start.longitude, start.latitude, "o", color="white", markeredgecolor="black", markersize=9)
figure.colorbar(shown, ax=axis, label="predicted minutes")
axis.set(title=f"From {start.Zone}: the farther, the darker; a weekday at five", aspect=1.32)
axis.axis("off")
show.describe(figure, f"A map of the boroughs; the zones near {start.Zone} are the lightest.")
plt.show()

# %% [markdown]
# Look for what you know of the city: is your zone light, are the ends of Staten Island, the Bronx and
# Queens dark, do the colours change slowly? If the map looked like confetti, the features would have
# reached the model mixed up: the service would answer with status 200 and be wrong all the same.
# Pictures find such faults faster than tests.

# %%
def correlation() -> float:
    return float(np.corrcoef([one["straight_miles"] for one in asked], minutes(asked))[0, 1])


check(
    "Longer routes take longer, and every zone has a prediction",
    lambda: len(minutes(asked)) == len(pd.read_csv(zones_file())) and correlation() > 0.6,
    saw=lambda: f"{len(minutes(asked))} rides; distance and time correlate by {correlation():.2f}",
    hint=[
        "Look at two numbers: a prediction for each of the zones, and a correlation near 1.",
        "Usually `asked` holds other rides than those of the map, or their features are mixed up: "
        "`pd.DataFrame(asked).describe()` in a cell shows each feature's range.",
        "Run the cell that begins `places = lookup` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Send bad requests on purpose
#
# Callers make mistakes. A good service says which one it was and goes on. Read each answer: the
# status says whose fault it is (4xx yours, 5xx the service's), the text what was expected.

# %% tags=["blank"]
good = ride(start, end)
mistakes = {
    "no token": ({"X-Auth-Token": ""}, url, good),
    "unknown model": ({}, url.replace(model_name, "boat"), good),
    # blank: Send a ride in which the feature `hour` is missing.
    # solution
    "feature missing": ({}, url, {name: good[name] for name in good if name != "hour"}),
    # end of solution
    # stub: "feature missing": ({}, url, good),
    "text for a number": ({}, url, good | {"hour": "noon"}),
}


def send(mistake: str) -> requests.Response:
    headers, where, one = mistakes[mistake]
    return http.post(where, json={"use_scoring": True, "scoring_args": one}, headers=headers, timeout=10)


show.table([[name, send(name).status_code, send(name).json().get("error", "nothing")] for name in mistakes],
           columns=["mistake", "status", "what the service says"])

# %% [markdown]
# No answer is a stack trace, and none names other people's models. Each text
# names what is wrong, so the caller can correct the request without asking you. A missing feature is found
# before the model sees the row; what only the model can refuse, it refuses for that request alone: one
# bad request in a batch does not spoil the answers of the others.

# %%
check(
    "Every mistake was the caller's, and the next request is served",
    lambda: all(400 <= send(name).status_code < 500 for name in mistakes) and ask(good).ok,
    saw=lambda: ", ".join(f"{name}: {send(name).status_code}" for name in mistakes)
    + f"; without a mistake: {ask(good).status_code}",
    hint=[
        "Look at the numbers: four of them between 400 and 499, the last one 200.",
        "A 200 means that a mistake is none, a 5xx that the service broke: "
        f"`kubectl logs -l kubedirector.hpe.com/kdcluster={engine} --tail=20` in a terminal tells.",
        "Run the cell that begins `good = ride(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Put a small load on it
#
# **Latency** is how long one caller waits. An average hides the unlucky ones, so you look at the
# middle (p50) and at the slowest in a hundred (p99).
#
# The engine counts for itself, in the form that Prometheus reads: `/metrics` is what an operator's
# dashboard is made of. You read the counters, let a **crowd** of callers ask, and read them again.

# %% tags=["blank"]
def counters() -> dict[str, float]:
    text = requests.get(f"{address}/metrics", verify=str(place.ca), timeout=10).text
    found = re.findall(r"^deployment_requests_total{(.+)} (.+)$", text, re.M)
    # blank: Return a dict of the labels and their counts, which are text, as numbers.
    # solution
    return {labels: float(count) for labels, count in found}
    # end of solution
    # stub: return {}


counted = counters()
before = Crowd(lambda: ask(good).ok, callers).send(requests_sent)
p50, p99 = np.percentile(before.milliseconds, [50, 99])
print(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {before.failed} failed")

# %%


def grown() -> dict[str, float]:
    return {labels: count - counted.get(labels, 0) for labels, count in counters().items()
            if count != counted.get(labels, 0)}


show.table(grown().items(), columns=["answers of", "more than before"])

# %% [markdown]
# If p99 is many times p50, requests queue somewhere: most callers are served at once, and a few wait
# for a turn. On a laptop the other programs that share its two or four processors are part of what you
# measure, so compare curves of the same run and never numbers of two machines.

# %%
check(
    "The load was answered without a failure, says the engine",
    lambda: len(grown()) == 1 and 'status="200"' in min(grown()) and min(grown().values()) >= requests_sent,
    saw=lambda: ", ".join(f"{count:.0f} more of {labels}" for labels, count in grown().items()),
    expected=f"{requests_sent} more answers with status 200, and no other",
    hint=[
        "Look at the growth of the counters: one line, with status 200, that grew by the whole load.",
        "Usually the engine was started anew since, or has two workers that count apart: "
        f"`kubectl get pod -l kubedirector.hpe.com/kdcluster={engine}` in a terminal shows which.",
        "Run the cell that begins `def counters(` again, then this one. Fewer `callers` make "
        "the load gentler.",
    ],
)

# %% [markdown]
# ## 6. Double the workers while it runs
#
# Change one number in the manifest, `members`, and KubeDirector adds a worker. The load goes on until
# the new one is configured: the balancer sends to it when it is ready, not earlier.
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


def workers() -> int:
    selector = f"kubedirector.hpe.com/kdcluster={engine},kubedirector.hpe.com/role=RESTServer"
    pods = k8s.core.list_namespaced_pod(k8s.namespace, label_selector=selector).items
    return sum(pod.status.phase == "Running" for pod in pods)


# %%
with Crowd(lambda: ask(good).ok, callers) as during:
    scale_to(2)
    wait("a second worker", workers, until=lambda seen: seen == 2)
    wait_configured(k8s, engine)
print(f"{during.asked:,} requests while the second worker came, {during.failed} failed")

# %% [markdown]
# Three things happened while the load ran: KubeDirector changed the number of replicas, the new
# worker loaded the model from the project repository, and the balancer began to send to it after its
# first successful health check. The patch named the whole list of roles, because a list in a merge
# patch is replaced and not merged: whoever forgets one role removes it.

# %%
after = Crowd(lambda: ask(good).ok, callers).send(requests_sent)
figure, axis = plt.subplots()
curves = {"one worker": (before, "-"), "while scaling": (during, "--"), "two workers": (after, ":")}
for name, (crowd, dashes) in curves.items():
    axis.plot(np.sort(crowd.milliseconds), np.linspace(0, 100, crowd.asked), dashes, label=name)
axis.set(xlabel="milliseconds until the answer", ylabel="% of requests answered", xscale="log",
         title="Every request is answered, also while the service grows")
ticks = [one * ten for ten in (1, 10, 100, 1000) for one in (1, 2, 5)]
axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
axis.minorticks_off()
every = [*before.milliseconds, *during.milliseconds, *after.milliseconds]
axis.set_xlim(min(every) / 1.2, max(every) * 1.2)
axis.legend(loc="lower right")
plt.show()

# %% [markdown]
# Read a curve from left to right: how many of the requests were answered after so many milliseconds.
# Two workers on a laptop share its processors, so do not expect half the time. What counts is the
# dashed curve: the service grew, and no request was refused.

# %%
check(
    "Two workers serve, and no request failed on the way",
    lambda: workers() == 2 and during.failed + after.failed == 0,
    saw=lambda: f"{workers()} workers, {during.failed + after.failed} failed requests",
    hint=[
        "Look at the two numbers: two workers, and no failed request.",
        "Usually the second pod finds no room, or was taken away again: "
        f"`kubectl get kdcluster {engine}` in a terminal says in the column PROBLEM what it waits for.",
        "Run the cells that begin `with Crowd(` and `after = Crowd(` again, then this one.",
    ],
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
# Hint: `ride(start, end, hour=…)` makes one row; `minutes` takes a list of them.

# %% tags=["exercise"]
# stub: slowest = None
# solution
day = [ride(start, end, hour=hour) for hour in range(24)]
slowest = int(np.argmax(minutes(day)))
# end of solution
print(slowest)

# %% [markdown]
# ## Recap
#
# - You asked for **one prediction** with `curl` and Python, and for many, and drew them on a map.
# - You know what the service says to **bad requests**.
# - You measured **latency**, and doubled the workers while it ran.
#
# More: [The Tail at Scale](https://research.google/pubs/the-tail-at-scale/),
# [Prometheus' text format](https://prometheus.io/docs/instrumenting/exposition_formats/),
# [load balancing by Services](https://kubernetes.io/docs/concepts/services-networking/service/).
#
# Next: new data arrives, and the pipeline begins to move.

# %%
quiz(
    "Why look at p99 and not at the average?",
    ["It is smaller", "It is easier to compute", "The average hides the callers who wait longest"],
    right=2,
    because="Of the visitors of a page that makes 100 calls, 63 % meet one of the slowest 1 %: 1 − 0.99^100.",
)
quiz(
    "One call with 100 rows or 100 calls with one row?",
    ["One call with 100 rows", "The same", "100 calls"],
    right=0,
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
# The engine stays for the last lab. To give the second worker back, type `finished = True` in a cell
# and run this one. Running it twice is safe.

# %%
if finished:
    scale_to(1)
    wait("one worker", workers, until=lambda seen: seen == 1)
print(f"Kept for the last lab: {engine}, {wait_configured(k8s, engine)['status']['state']}.")
