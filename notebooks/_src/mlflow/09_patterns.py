# %% [markdown]
# # Lab mlflow-09: Patterns
#
# Build nine patterns that Kubernetes services are made of, break each, and see what Kubernetes does.

# %% [markdown]
# ## What you will build
#
# - A pod whose **init container** must succeed first, and a **sidecar** that ends with the work.
# - An **ambassador** between a program and a service, and an **adapter** for its numbers.
# - A service that removes an unhealthy pod by **probes**, a **Job** in parts and a **CronJob**.
# - A **singleton**, and three pods that elect a **leader** by a Lease.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-01 | Your session and your namespace | `kubectl auth can-i create leases` |
# | Room for six pods | Each step removes what it ordered | `kubectl describe quota` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
image: str = "python:3.11"  # every program of this lab needs only Python
lease_seconds: int = 4  # how long a lease is valid without a renewal
finished: bool = False  # True: the clean-up removes what this lab has ordered

# %% [markdown]
# ## Setup
#
# All programs of this lab are in one ConfigMap, which each container mounts as a folder. Every object has
# the lab's label, so that one call finds them all.

# %%
from kubernetes import client
from kubernetes.stream import stream

from labhelpers import begin, check, quiz, settings, show, wait
from labhelpers.cluster import apply_config_map, connect, labels, remove

begin("mlflow/09")
place, k8s = settings(), connect()
batch = client.BatchV1Api(k8s.core.api_client)
leases = client.CoordinationV1Api(k8s.core.api_client)
marks = labels("mlflow/09")
WHERE = {"namespace": k8s.namespace}
prefix = f"patterns-{place.user}"
programs: dict[str, str] = {}

# %%
def container(name: str, program: str, *words: str, **more) -> dict:
    path = 'exec python3 "${POD_ROOT:-}/programs/$0" "$@"'
    mounts = [{"name": "programs", "mountPath": "/programs"}, {"name": "shared", "mountPath": "/shared"}]
    few = {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"cpu": "250m", "memory": "96Mi"}}
    return {"name": name, "image": image, "command": ["sh", "-c", path, program, *words],
            "volumeMounts": mounts, "resources": few} | more


def pod(app: str, containers: list, init: list = (), **more) -> dict:
    volumes = [{"name": "programs", "configMap": {"name": f"{prefix}-programs"}},
               {"name": "shared", "emptyDir": {}}]
    return {"metadata": {"labels": marks | {"app": f"{prefix}-{app}"}},
            "spec": {"volumes": volumes, "initContainers": list(init), "containers": containers} | more}


def meta(app: str) -> dict:
    return {"name": f"{prefix}-{app}", "labels": marks}


# %%
def publish() -> None:
    apply_config_map(k8s, f"{prefix}-programs", programs, marks)


def pods(app: str) -> list:
    return k8s.core.list_namespaced_pod(**WHERE, label_selector=f"app={prefix}-{app}").items


# %%
KINDS = {"cronjobs": (batch, "cron_job"), "jobs": (batch, "job"), "deployments": (k8s.apps, "deployment"),
         "statefulsets": (k8s.apps, "stateful_set"), "services": (k8s.core, "service"),
         "leases": (leases, "lease"), "pods": (k8s.core, "pod")}
SELECTOR = ",".join(f"{key}={value}" for key, value in marks.items())


def left_over(kind: str) -> list[str]:
    api, noun = KINDS[kind]
    listed = getattr(api, f"list_namespaced_{noun}")(**WHERE, label_selector=SELECTOR).items
    return [one.metadata.name for one in listed]


def clear(*kinds: str) -> None:
    for kind in kinds or KINDS:
        api, noun = KINDS[kind]
        now = {"grace_period_seconds": 0} if kind == "pods" else {"propagation_policy": "Background"}
        getattr(api, f"delete_collection_namespaced_{noun}")(**WHERE, label_selector=SELECTOR, **now)
        wait(f"the {kind} to be gone", lambda kind=kind: left_over(kind), until=lambda names: not names, deadline=120)


# %% [markdown]
# A CronJob starts its first Job at the next full minute. Create it now; you need its result in step 5.

# %%
clear()
programs["beat.py"] = "import time\nprint('beat', round(time.time()))\n"
publish()
beat = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 2,
        "jobTemplate": {"spec": {"template": pod(
            "beat", [container("beat", "beat.py")], restartPolicy="Never")}}}
made = batch.create_namespaced_cron_job(body={"metadata": meta("beat"), "spec": beat}, **WHERE)
print(made.metadata.name, made.spec.schedule)

# %% [markdown]
# ## 1. Prepare before the program starts
#
# An **init container** runs to completion before the pod's main container starts: it fetches a model, waits
# for a database, or migrates a schema. When it fails, the main container does not start at all, so no server
# runs with incomplete data.

# %%
programs["fetch.py"] = """
import os, sys
root = os.environ.get("POD_ROOT", "")
if "broken" in sys.argv:
    sys.exit("fetch: no model named wine-7")
open(f"{root}/shared/model.txt", "w").write("wine-6")
"""
programs["serve.py"] = """
import os
print("serving", open(os.environ.get("POD_ROOT", "") + "/shared/model.txt").read(), flush=True)
"""
publish()
clear("pods")
for app, words in {"init": [], "init-broken": ["broken"]}.items():
    body = pod(app, [container("serve", "serve.py")], [container("fetch", "fetch.py", *words)], restartPolicy="Never")
    made = k8s.core.create_namespaced_pod(body=body | {"metadata": body["metadata"] | {"name": f"{prefix}-{app}"}}, **WHERE)

# %%
def phase(app: str) -> str:
    return pods(app)[0].status.phase


def log(app: str, name: str) -> str:
    text = k8s.core.read_namespaced_pod_log(pods(app)[0].metadata.name, **WHERE, container=name)
    return text or ""  # the client returns None for a pod without a place


for app in ("init", "init-broken"):
    print(app, wait(f"the pod {app}", lambda app=app: phase(app), until=lambda seen: seen in ("Succeeded", "Failed")))
print(log("init", "serve"), log("init-broken", "fetch"))

# %%
def started(app: str) -> bool:
    state = pods(app)[0].status.container_statuses[0].state
    return bool(state.terminated and state.terminated.started_at)


check(
    "The program started after its init container, and not at all after a failed one",
    lambda: "serving wine-6" in log("init", "serve") and started("init")
    and phase("init-broken") == "Failed" and not started("init-broken"),
    saw=lambda: f"init: {phase('init')}; init-broken: {phase('init-broken')}, program not started",
    hint=[
        "Look at the two phases: Succeeded and Failed.",
        f"Usually a pod is not scheduled yet: `kubectl describe pod {prefix}-init` in a terminal shows why.",
        "Run the cells that begin `programs[\"fetch.py\"]` and `def phase(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Add a sidecar
#
# A **sidecar** runs beside the main container and supports it: here it ships the log. A Job completes when
# its containers have ended, and a log shipper never ends. Since Kubernetes 1.29 a sidecar is an init
# container with `restartPolicy: Always`: it starts first, and is stopped when the main container has ended.
# As an ordinary second container it keeps the Job running forever.

# %%
programs["work.py"] = """
import os
with open(os.environ.get("POD_ROOT", "") + "/shared/app.log", "w") as log:
    for number in range(3):
        print("row", number, file=log, flush=True)
"""

# %%
programs["ship.py"] = """
import os, pathlib, signal, time
file = pathlib.Path(os.environ.get("POD_ROOT", "") + "/shared/app.log")
seen, running = 0, True
def end(*_):
    global running
    running = False
signal.signal(signal.SIGTERM, end)
while running or (file.exists() and len(file.read_text().splitlines()) > seen):
    for line in file.read_text().splitlines()[seen:] if file.exists() else []:
        print("shipped:", line, flush=True)
        seen += 1
    time.sleep(0.1)
"""
publish()

# %% tags=["blank"]
shipper = container("ship", "ship.py")
# blank: Let `native` be the shipper as a sidecar: an init container that is restarted always.
# stub: native = dict(shipper)
# solution
native = shipper | {"restartPolicy": "Always"}
# end of solution
worker = container("work", "work.py")
is_sidecar = native.get("restartPolicy") == "Always"
forms = {"sidecar": pod("sidecar", [worker], [native], restartPolicy="Never") if is_sidecar else
         pod("sidecar", [worker, native], restartPolicy="Never"),
         "beside": pod("beside", [worker, shipper], restartPolicy="Never")}
clear("jobs", "pods")
for app, template in forms.items():
    made = batch.create_namespaced_job(body={"metadata": meta(app), "spec": {"template": template}}, **WHERE)

# %%
def job(app: str):
    return batch.read_namespaced_job(f"{prefix}-{app}", **WHERE).status


def ended(app: str) -> dict[str, bool]:
    return {one.name: bool(one.state.terminated) for one in pods(app)[0].status.container_statuses or []}


if is_sidecar:
    wait("the Job with a sidecar", lambda: job("sidecar").succeeded)
wait("the other worker to end", lambda: pods("beside") and ended("beside").get("work"))
print("with a sidecar:", job("sidecar").succeeded, "succeeded; as a container:", job("beside").active, "active")

# %%
check(
    "The Job with a sidecar is done; with an ordinary container it never is",
    lambda: job("sidecar").succeeded == 1 and "shipped: row 2" in log("sidecar", "ship")
    and job("beside").active == 1 and ended("beside") == {"work": True, "ship": False},
    saw=lambda: f"sidecar: {job('sidecar').succeeded} succeeded; beside: {job('beside').active} still active",
    hint=[
        "Look at both counts: one Job has succeeded, the other is active although its worker has ended.",
        f"Usually the sidecar has no `restartPolicy`: `kubectl get job {prefix}-sidecar -o yaml` in a terminal.",
        "Run the cells that begin `shipper = container(` and `def job(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Add an ambassador and an adapter
#
# An **ambassador** is a proxy for outgoing requests: the program sends them to a container of the same pod,
# which knows the service's address and returns a clear error when the service is down. An **adapter**
# converts the program's output to the format that others expect: here the text format of Prometheus.
# Neither needs a change of the program. Containers of a pod share one address, so they use different ports.

# %%
programs["web.py"] = """
import http.server, os, urllib.request as ask
HOST = os.environ.get("POD_LISTEN_IP", "0.0.0.0")
NEAR = os.environ.get("POD_LISTEN_IP", "127.0.0.1")
def get(url):
    return ask.build_opener(ask.ProxyHandler({})).open(url, timeout=5).read().decode()
def listen(port, answer):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = answer(self.path)
            self.send_response(status); self.end_headers(); self.wfile.write(text.encode())
        def log_message(self, *words): pass
    http.server.ThreadingHTTPServer((HOST, port), Page).serve_forever()
"""
programs["price.py"] = "import web\nweb.listen(8080, lambda path: (200, '12.50'))\n"
publish()

# %%
programs["shop.py"] = """
import time, web
asked = failed = 0
while True:
    try:
        answer, asked = web.get(f"http://{web.NEAR}:8001/"), asked + 1
    except OSError:
        answer, failed = "no price", failed + 1
    print(answer, flush=True)
    open(web.os.environ.get("POD_ROOT", "") + "/shared/numbers.txt", "w").write(f"{asked};{failed}")
    time.sleep(0.2)
"""

# %%
programs["ambassador.py"] = """
import sys, web
def forward(path):
    try:
        return 200, web.get(sys.argv[1])
    except OSError as error:
        return 503, f"no price service: {error}"
web.listen(8001, forward)
"""

# %% tags=["blank"]
programs["adapter.py"] = """
import web
def metrics(path):
    asked, failed = open(web.os.environ.get("POD_ROOT", "") + "/shared/numbers.txt").read().split(";")
    return 200, TEXT.format(asked=asked, failed=failed)
"""
# blank: Let `form` be two lines of Prometheus' text format: shop_asked_total and shop_failed_total, each
# blank: followed by a space and its number, written {asked} and {failed}.
# stub: form = "{asked};{failed}"
# solution
form = "shop_asked_total {asked}\\nshop_failed_total {failed}\\n"
# end of solution
programs["adapter.py"] += f'TEXT = "{form}"\nweb.listen(9100, metrics)\n'
publish()
clear("jobs", "services", "deployments", "pods")

# %%
def deployment(app: str, replicas: int, containers: list, **more) -> None:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": f"{prefix}-{app}"}}, "template": pod(app, containers, **more)}
    k8s.apps.create_namespaced_deployment(body={"metadata": meta(app), "spec": spec}, **WHERE)


def service(app: str, port: int) -> str:
    spec = {"selector": {"app": f"{prefix}-{app}"}, "ports": [{"port": port}], "clusterIP": "None"}
    k8s.core.create_namespaced_service(body={"metadata": meta(app), "spec": spec}, **WHERE)
    return f"http://{prefix}-{app}.{k8s.namespace}.svc.cluster.local:{port}/"


price = service("price", 8080)
deployment("price", 1, [container("price", "price.py")])
deployment("shop", 1, [container("shop", "shop.py"), container("ambassador", "ambassador.py", price),
                       container("adapter", "adapter.py")])

# %%
def inside(app: str, name: str, code: str) -> str:
    command = ["sh", "-c", 'cd "${POD_ROOT:-}/programs" && exec python3 -c "$0"', code]
    return stream(k8s.core.connect_get_namespaced_pod_exec, pods(app)[0].metadata.name, **WHERE,
                  container=name, command=command, stdout=True, stderr=True)


def numbers() -> str:
    return inside("shop", "adapter", "import web; print(web.get(f'http://{web.NEAR}:9100/metrics'))").strip()


def refusal() -> str:
    return inside("shop", "ambassador", """
import web, urllib.error
try:
    print(web.get(f"http://{web.NEAR}:8001/"))
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
""")


# %%
def last() -> str:
    return (log("shop", "shop").splitlines() or [""])[-1]


# %%
wait("a price", last, until=lambda line: line == "12.50", ignoring=(OSError, client.ApiException, LookupError))
print(numbers())
k8s.apps.patch_namespaced_deployment_scale(f"{prefix}-price", body={"spec": {"replicas": 0}}, **WHERE)
wait("a request without a price", last, until=lambda line: line == "no price")
print(numbers())

# %%
def counted() -> dict[str, int]:
    return {line.split()[0]: int(line.split()[1]) for line in numbers().splitlines()}


check(
    "The shop got prices, then clear refusals, and the adapter shows both counts",
    lambda: counted()["shop_asked_total"] > 0 and counted()["shop_failed_total"] > 0
    and "503 no price service" in refusal(),
    saw=lambda: ", ".join(f"{name} {number}" for name, number in counted().items()),
    hint=[
        "Look at the two lines of numbers: both counts have grown.",
        f"Usually the price service still runs: `kubectl get deployment {prefix}-price` in a terminal shows 0/0.",
        "Run the cells that begin `programs[\"adapter.py\"]`, `def deployment(` and `wait(\"a price\"` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Let the platform check health
#
# There are two kinds of health check. A failed **readiness** probe removes the pod from the service, and
# nothing else. A failed **liveness** probe makes the kubelet restart the container. So a liveness probe must
# not depend on a database: when the database is down, a restart of the program does not help.

# %%
programs["probed.py"] = """
import pathlib, web
SICK = pathlib.Path(web.os.environ.get("POD_ROOT", "") + "/tmp")
def answer(path):
    bad = (SICK / path.strip("/")).exists()
    return (503 if bad else 200), path
SICK.mkdir(exist_ok=True)
web.listen(8080, answer)
"""
publish()


# %%
def probe(path: str) -> dict:
    return {"httpGet": {"path": f"/{path}", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 5}


clear("deployments", "services", "pods")
asked = {"readinessProbe": probe("ready"), "livenessProbe": probe("alive"), "startupProbe": probe("up") | {"failureThreshold": 60}}
service("probed", 8080)
deployment("probed", 2, [container("probed", "probed.py", **asked)])

# %%
def behind() -> int:
    listed = k8s.core.list_namespaced_endpoints(**WHERE, field_selector=f"metadata.name={prefix}-probed").items
    return sum(len(one.addresses or []) for found in listed for one in found.subsets or [])


def times() -> list[int]:
    return sorted(one.status.container_statuses[0].restart_count for one in pods("probed"))


MAKE = "import os, pathlib; pathlib.Path(os.environ.get('POD_ROOT', '') + '/tmp/{}').touch()"
steps = [("two healthy pods", wait("two pods", behind, until=lambda n: n == 2, deadline=120), times())]
inside("probed", "probed", MAKE.format("ready"))
steps += [("one is not ready", wait("one pod", behind, until=lambda n: n == 1), times())]
inside("probed", "probed", MAKE.format("alive"))
wait("a restart", times, until=lambda seen: seen[-1] >= 1, deadline=120)
steps += [("it was restarted", wait("two pods", behind, until=lambda n: n == 2, deadline=120), times())]
show.table(steps, columns=["state", "behind the service", "restarts"])

# %%
check(
    "A pod that is not ready left the service without a restart; the dead one was restarted and is back",
    lambda: [row[1:] for row in steps[:2]] == [(2, [0, 0]), (1, [0, 0])] and behind() == 2 and times()[-1] >= 1,
    saw=lambda: f"{behind()} pods behind the service, restarts {times()}",
    hint=[
        "Look at the table: two, one, two; and one restart at the end.",
        f"Usually a probe has not failed twice yet: `kubectl get endpoints {prefix}-probed` in a terminal lists the addresses.",
        "Run the cells that begin `def probe(` and `def behind(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Run it once, in parts, and every minute
#
# A **Job** runs pods until a number of them has succeeded. An indexed Job gives each pod a number: each does
# its part of the work, and only a part that failed is retried. A **CronJob** creates a Job at each time of
# its schedule. It may be late, may skip one, and may start one twice, so its program must be idempotent.

# %%
programs["part.py"] = """
import os, sys
part = int(os.environ["JOB_COMPLETION_INDEX"])
if "hard" in sys.argv and part == 1:
    sys.exit("part 1: no such table")
print("part", part, "of 3: rows", part * 100, "to", part * 100 + 99)
"""
clear("deployments", "services")
publish()


# %%
def indexed(app: str, *words: str) -> None:
    spec = {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
            "template": pod(app, [container("part", "part.py", *words)], restartPolicy="Never")}
    batch.create_namespaced_job(body={"metadata": meta(app), "spec": spec}, **WHERE)


clear("jobs", "pods")
indexed("parts")
indexed("parts-hard", "hard")

# %%
def over(app: str) -> bool:
    return any(one.type in ("Complete", "Failed") and one.status == "True" for one in job(app).conditions or [])


for app in ("parts", "parts-hard"):
    wait(f"the job {app}", lambda app=app: over(app), deadline=240)
    print(app, "completed:", job(app).completed_indexes, "failed:", job(app).failed_indexes)


def beats() -> list[str]:
    return [one.metadata.name for one in batch.list_namespaced_job(**WHERE).items
            if one.status.succeeded and any(owner.kind == "CronJob" for owner in one.metadata.owner_references or [])]


print(wait("the CronJob's first Job", beats, deadline=150))

# %%
check(
    "Three parts are done; of the hard job only part 1 failed; the CronJob has run",
    lambda: job("parts").completed_indexes == "0-2" and job("parts-hard").completed_indexes == "0,2"
    and job("parts-hard").failed_indexes == "1" and beats(),
    saw=lambda: f"parts {job('parts').completed_indexes}, hard {job('parts-hard').completed_indexes}, {len(beats())} beats",
    hint=[
        "Look at the lists of indexes: 0-2 in the first, 0,2 in the second.",
        f"Usually a pod of the job is still pending: `kubectl get pods -l app={prefix}-parts` in a terminal.",
        "Run the cells that begin `def indexed(` and `def over(` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Run at most one
#
# A Deployment of one replica is *not* a **singleton**: when its pod is deleted, the next one starts while the
# old one is still terminating, and for a while both write. A StatefulSet waits until the old pod is gone.
# Measure it: delete the pod, and count the containers that run at the same time.

# %%
programs["writer.py"] = """
import signal, sys, time
running = True
def end(*_):
    global running
    running = False
signal.signal(signal.SIGTERM, end)
while running:
    time.sleep(0.1)
time.sleep(float(sys.argv[1]))  # it finishes what it was writing
"""
publish()
clear("cronjobs", "jobs", "deployments", "statefulsets", "pods")
long, short = container("writer", "writer.py", "60"), container("writer", "writer.py", "2")
deployment("rollout", 1, [long], terminationGracePeriodSeconds=90)
spec = {"replicas": 1, "serviceName": f"{prefix}-single", "selector": {"matchLabels": {"app": f"{prefix}-single"}},
        "template": pod("single", [short])}
made = k8s.apps.create_namespaced_stateful_set(body={"metadata": meta("single"), "spec": spec}, **WHERE)

# %%
def running(app: str) -> dict[str, str]:
    return {one.metadata.uid: one.metadata.name for one in pods(app)
            if one.status.container_statuses and one.status.container_statuses[0].state.running}


def most_at_once(app: str) -> int:
    (first,) = wait(f"a pod of {app}", lambda: running(app), until=lambda seen: len(seen) == 1, deadline=120)
    k8s.core.delete_namespaced_pod(running(app)[first], **WHERE)
    most: list[int] = []

    def replaced() -> bool:
        most.append(len(running(app)))
        return bool(set(running(app)) - {first})

    wait(f"the next pod of {app}", replaced, deadline=120, every=0.1)
    return max([*most, len(running(app))])


at_once = {app: most_at_once(app) for app in ("rollout", "single")}
print(at_once)

# %%
check(
    "The Deployment ran two writers at once, the StatefulSet never",
    lambda: at_once == {"rollout": 2, "single": 1} and len(pods("single")) == 1,
    saw=lambda: f"most at once: {at_once}",
    hint=[
        "Look at the two numbers: 2 and 1.",
        f"Usually the writer ended before the next one began: `kubectl get events -n {k8s.namespace}` in a terminal shows when.",
        "Run the cells that begin `programs[\"writer.py\"]` and `def running(` again, then this one.",
    ],
)

# %% [markdown]
# ## 7. Elect a leader
#
# A singleton is down while its pod is replaced. With a **Lease** three pods are ready and one of them works.
# The leader keeps renewing a time in an object of the API; when that time is too old, another pod takes over.
# Two that try at the same time write with the same `resourceVersion`, and the API server refuses one of
# them. The controllers of Kubernetes elect their leader in the same way.

# %%
programs["lease.py"] = """
import datetime, json, os, ssl, urllib.error, urllib.request as ask
base = os.environ.get("POD_ROOT", "") + "/var/run/secrets/kubernetes.io/serviceaccount/"
space = open(base + "namespace").read()
host = os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
url = f"https://{host}/apis/coordination.k8s.io/v1/namespaces/{space}/leases"
trust = ask.HTTPSHandler(context=ssl.create_default_context(cafile=base + "ca.crt"))
opener = ask.build_opener(ask.ProxyHandler({}), trust)
def call(verb, path="", body=None):
    head = {"Authorization": "Bearer " + open(base + "token").read(), "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    return json.load(opener.open(ask.Request(url + path, data, head, method=verb), timeout=5))
def now():
    return datetime.datetime.now(datetime.timezone.utc)
def text(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
"""

# %%
beginning = """
import os, sys, time, urllib.error, datetime
from lease import call, now, text
name, me, seconds = sys.argv[1], sys.argv[3], int(sys.argv[2])
def hold():
    try:
        lease = call("GET", "/" + name)
    except urllib.error.HTTPError:
        lease = call("POST", body={"metadata": {"name": name, "labels": LABELS}, "spec": {}})
    spec, told = lease["spec"], lease["spec"].get("renewTime")
    fresh = told and now() - datetime.datetime.fromisoformat(told.replace("Z", "+00:00")) < datetime.timedelta(seconds=seconds)
    if spec.get("holderIdentity") not in (None, me) and fresh:
        return 0
    if spec.get("holderIdentity") != me:
        spec |= {"leaseTransitions": spec.get("leaseTransitions", 0) + 1, "acquireTime": text(now())}
"""

# %% tags=["blank"]
# blank: Write the end of the function: set `holderIdentity`, `renewTime` and `leaseDurationSeconds` in the
# blank: spec, PUT the lease (its resourceVersion is still in it), and return the number of the transition.
# stub: ending = "    return 0\n"
# solution
ending = """    spec |= {"holderIdentity": me, "renewTime": text(now()), "leaseDurationSeconds": seconds}
    call("PUT", "/" + name, lease)
    return spec["leaseTransitions"]
"""
# end of solution
programs["elect.py"] = beginning + ending + f"""LABELS = {marks}
while True:
    try:
        term = hold()
    except OSError:
        term = 0  # another pod was faster, or the API does not answer: not the leader
    if term:
        print("term", term, "leader", me, flush=True)
    time.sleep(seconds / 8)
"""
publish()
name = f"{prefix}-leader"
me = {"env": [{"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}
elect = container("elect", "elect.py", name, str(lease_seconds), "$(ME)", **me)
clear("deployments", "statefulsets", "leases", "pods")
deployment("elect", 3, [elect], serviceAccountName="ecp-tenant-member-sa", terminationGracePeriodSeconds=0)

# %%
def held() -> tuple[int, str]:
    listed = leases.list_namespaced_lease(**WHERE).items
    found = [one.spec for one in listed if one.metadata.name == name]
    return (found[0].lease_transitions or 0, found[0].holder_identity or "") if found else (0, "")


terms = []
if "PUT" in ending:
    terms.append(wait("a leader", held, until=lambda seen: seen[0], deadline=120))
    wait("three candidates", lambda: running("elect"), until=lambda seen: len(seen) == 3, deadline=120)
    terms = [held()]
    k8s.core.delete_namespaced_pod(terms[0][1], **WHERE, grace_period_seconds=0)
    terms.append(wait("the next leader", held, until=lambda seen: seen[0] > terms[0][0], deadline=120))
show.table(terms, columns=["term", "leader"])

# %%
def written() -> dict[str, set[str]]:
    logs = [k8s.core.read_namespaced_pod_log(one.metadata.name, **WHERE) or "" for one in pods("elect")]
    lines = [line.split() for text in logs for line in text.splitlines()]
    return {term: {line[3] for line in lines if line[1] == term} for term in {line[1] for line in lines}}


check(
    "Another pod took over, and no term has had two leaders",
    lambda: held()[0] >= 2 and held()[1] != terms[0][1] and all(len(who) == 1 for who in written().values())
    and held()[1] in written()[str(held()[0])],
    saw=lambda: f"term {held()[0]}: {held()[1]}; terms seen: {sorted(written())}",
    hint=[
        "Look at the table: two terms, two names.",
        f"Usually the pods may not write the lease: `kubectl get lease {name} -o yaml` in a terminal shows its holder.",
        "Run the cells that begin `programs[\"lease.py\"]`, `ending = ` and `def held(` again, then this one.",
    ],
)

# %% [markdown]
# The number of the term is a **fencing token**: a leader that was paused for too long still writes with its
# old number, and a store that refuses numbers lower than the last one refuses that write.

# %% [markdown]
# ## If it does not work
#
# - **A pod stays `Pending`**: the quota is used up, as `kubectl describe quota` shows; `clear()` in a cell
#   removes what this lab has created.
# - **`CrashLoopBackOff`**: `kubectl logs <pod> -c <container> --previous` shows why the program ended.
# - **403 at the lease**: the pods run with an account that may not write leases. Name
#   `ecp-tenant-member-sa` in their template.

# %% [markdown]
# ## Exercise
#
# For how many seconds has the present leader been leader? Store them in `led`. Read them from the Lease.
#
# Hint: a lease has `spec.acquire_time` and `spec.renew_time`, which are times of Python.

# %% tags=["exercise"]
# stub: led = None
# solution
spec = leases.read_namespaced_lease(name, **WHERE).spec
led = (spec.renew_time - spec.acquire_time).total_seconds()
# end of solution
print("seconds:", led)

# %% [markdown]
# ## Recap
#
# - An **init container** came first, and a **sidecar** ended with the work.
# - An **ambassador** forwarded requests, an **adapter** converted the metrics.
# - **Probes** removed a pod and restarted one; a **Job** ran in parts; a **CronJob** ran on schedule.
# - A StatefulSet was a **singleton**, a Deployment was not, and a **Lease** elected the leader.
#
# More: [Sidecar containers](https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/),
# [Jobs](https://kubernetes.io/docs/concepts/workloads/controllers/job/),
# [Leases](https://kubernetes.io/docs/concepts/architecture/leases/).
# Next: a network that loses only large packets.

# %%
quiz(
    "A database is down. Which probe of the program that needs it may fail?",
    ["Liveness", "Readiness", "Both"],
    right=1,
    because="A restart does not repair the database; an unready pod gets no requests until it is back.",
)
quiz(
    "Why does the Job with an ordinary second container never end?",
    ["That container does not end", "It has no index", "Its worker failed"],
    right=0,
    because="A pod is done when all its ordinary containers are; a sidecar is not counted.",
)
quiz(
    "Two pods try to take the same lease at the same time. What happens?",
    ["Both lead", "Neither leads", "The API server refuses the second write"],
    right=2,
    because="The second write carries an old resourceVersion: 409, Conflict.",
)

# %% [markdown]
# ## Clean up
#
# To remove what this lab has created, type `finished = True` in a cell and run this one; running it twice
# is safe.

# %%
if finished:
    clear()
print(remove(k8s, "mlflow/09") if finished else "Kept: the last step's pods and the programs.")
