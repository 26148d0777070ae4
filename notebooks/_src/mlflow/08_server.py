# %% [markdown]
# # Lab mlflow-08: Tracking server on the platform
#
# Operate a tracking server: separate two teams, test it against known attacks, and try backup, restore and upgrade.

# %% [markdown]
# ## What you will build
#
# - A **second server** beside yours, and the proof that neither team can use the other's.
# - A **job** inside the cluster that gets the server's address and token from a Secret.
# - An **attack** on your own server: eleven requests, taken from published advisories, each refused.
# - A **backup** during writes, its **restore**, a clean-up, and the **upgrade** of a database that a release
#   of 2025 wrote.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlflow-01 | Your first server plays the other team's | `kubectl get kdcluster` |
# | Room for one pod more | The second server, on which you try attacks and failures | `kubectl describe quota` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
team: str = "drill"  # the second team's name, part of its server's name
experiment: str = "drill"  # the experiment that is backed up
patience: int = 240  # how many seconds a server may take to come back
finished: bool = False  # True: the clean-up removes the second server

# %% [markdown]
# ## Setup

# %%
import hashlib
import json
import os
import shutil
import time

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
import mlflow
import requests
from kubernetes import client as kubernetes
from kubernetes.stream import stream

from labhelpers import Crowd, begin, check, data, fresh, project_repo, quiz, settings, show, wait
from labhelpers.cluster import apply, caller, cluster_of, connect, labels, remove, wait_configured

# %%
begin("mlflow/08")
place, k8s = settings(), connect()
first = cluster_of("mlflow-01", k8s, f"mlflow-{place.user}")["metadata"]["name"]
second = f"mlflow-{team}-{place.user}"

# %% [markdown]
# ## 1. Order a server for a second team
#
# One server for all teams needs a table of permissions, and a mistake in it opens everything. **One server a
# team** needs none: each has its own database, folder and token. Your server of the first lab plays the
# other team's; order a second one.

# %%
size = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
role = {"id": "controller", "members": 1, "storage": {"size": "1Gi"}, "resources": size}
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": second, "labels": labels("mlflow/08")},
    "spec": {"app": "mlflow", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": [role],
             "connections": {"secrets": ["hpecp-ext-auth-secret"]}},
}
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, second)

# %%
teams = {"first": caller(k8s, first, "controller", 5000), "second": caller(k8s, second, "controller", 5000)}
http, address = teams["second"]
keys = {name: session.headers["X-Auth-Token"] for name, (session, _) in teams.items()} | {"nobody": ""}
os.environ |= {"MLFLOW_TRACKING_TOKEN": keys["second"], "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
client = mlflow.MlflowClient(tracking_uri=address)


def api(path: str, body: dict | None = None) -> dict:
    url = f"{address}/api/2.0/mlflow/{path}"
    answer = http.post(url, json=body, timeout=60) if body is not None else http.get(url, timeout=60)
    answer.raise_for_status()
    return answer.json()


def up() -> bool:
    return http.get(f"{address}/version", timeout=30).text == mlflow.__version__


# %%
check(
    "Two servers of your client's release run, each with a token of its own",
    lambda: up() and keys["first"] != keys["second"]
    and all(session.get(f"{url}/version", timeout=30).text == mlflow.__version__ for session, url in teams.values()),
    saw=lambda: f"{first} and {second}",
    hint=[
        f"Look at the kdcluster {second}: is it configured?",
        "Usually its pod has no place yet, or the quota is used up: "
        f"`kubectl describe kdcluster {second}` in a terminal shows its events.",
        "Run the cells that begin `size = {` and `teams = {` again.",
    ],
)

# %% [markdown]
# ## 2. Try every operation with every token
#
# Test access with a full table. Rows are operations on a server: read, write, register, fetch files. Columns
# are tokens: that of the server's own team, that of the other team, none. Send each request to both servers
# and read the statuses: **401** means not authenticated, **403** authenticated but not allowed, **404** no
# such object. With 403 or 404 a server reveals which objects exist. So without its token this server
# answers 401 to everything, also for what does not exist.

# %%
operations = {
    "search experiments": ("POST", "api/2.0/mlflow/experiments/search", {"max_results": 1}),
    "read an experiment": ("GET", "api/2.0/mlflow/experiments/get?experiment_id=0", None),
    "make a run": ("POST", "api/2.0/mlflow/runs/create", {"experiment_id": "0", "tags": [{"key": "access", "value": "tried"}]}),
    "search runs": ("POST", "api/2.0/mlflow/runs/search", {"experiment_ids": ["0"], "max_results": 1}),
    "register a model": ("POST", "api/2.0/mlflow/registered-models/create", {"name": f"access {time.time()}"}),
    "search models": ("GET", "api/2.0/mlflow/registered-models/search", None),
    "list artefacts": ("GET", "api/2.0/mlflow-artifacts/artifacts", None),
    "ask in GraphQL": ("POST", "graphql", {"query": "{ test(inputString: \"x\") { output } }"}),
    "read the history of aliases": ("GET", "labs/moves", None),
    "open the page": ("GET", "", None),
}


def status_of(server: str, key: str, operation: str) -> int:
    method, path, body = operations[operation]
    url, header = teams[server][1], {"X-Auth-Token": keys[key]} if keys[key] else {}
    with requests.Session() as bare:
        bare.verify, bare.trust_env = str(place.ca), False
        return bare.request(method, f"{url}/{path}", json=body, headers=header, timeout=60).status_code


# %%
tried = {(server, key, one): status_of(server, key, one) for server in teams for key in keys for one in operations}
show.table([[one, *(tried[server, key, one] for server in teams for key in keys)] for one in operations],
           columns=["operation"] + [f"{server}: {key}" for server in teams for key in keys])
print(sum(code == 401 for code in tried.values()), "refused of", len(tried))

# %%
def others() -> set[int]:
    return {status_of(server, key, one) for server in teams for key in keys for one in operations
            if key != server and one != "register a model"}


check(
    "Each server answers its own team, and nobody else in any of ten ways",
    lambda: others() == {401}
    and {tried[server, key, "register a model"] for server in teams for key in keys if key != server} == {401}
    and {status_of(name, name, one) for name in teams for one in ("search experiments", "search runs", "open the page")} == {200},
    saw=lambda: f"{len(tried)} requests; without the server's own token: {others()}",
    hint=[
        "Look at the table: 401 in every column but the two in which a team uses its own server.",
        "Usually both servers have the same token, or a server was still starting: "
        "`len(set(keys.values()))` in a cell must be 3.",
        "Run the cells that begin `teams = {`, `operations = {` and `tried = {` again, then this one.",
    ],
)

# %% [markdown]
# The platform protects the token: a Secret of another tenant cannot be read at all (lab core-01). A user name
# that a client sends with the token, as in the history of aliases, is *not* authenticated.
#
# ## 3. Connect a job inside the cluster
#
# A job needs the address and the token, and neither belongs in its code. A **Secret** carries both. With
# the label `kubedirector.hpe.com/secretType: mlflow` notebooks and engines read it when it is connected;
# a Kubernetes Job reads it by `envFrom`. Inside the cluster the server has another name than at the gateway.

# %% tags=["blank"]
selector = f"kubedirector.hpe.com/kdcluster={second},kubedirector.hpe.com/role=controller"
(service, *_) = k8s.core.list_namespaced_service(k8s.namespace, label_selector=selector).items
# blank: Name `inside` the server's address for pods: http, the service's name, the namespace, `svc.cluster.local`, port 5000.
# stub: inside = address
# solution
inside = f"http://{service.metadata.name}.{k8s.namespace}.svc.cluster.local:5000"
# end of solution
marks = labels("mlflow/08") | {"kubedirector.hpe.com/secretType": "mlflow"}
values = {"MLFLOW_TRACKING_URI": inside, "MLFLOW_TRACKING_TOKEN": keys["second"], "MLFLOW_DISABLE_TELEMETRY": "true"}
secret = kubernetes.V1Secret(metadata=kubernetes.V1ObjectMeta(name=second, labels=marks), string_data=values)
if second in {one.metadata.name for one in k8s.core.list_namespaced_secret(k8s.namespace).items}:
    k8s.core.delete_namespaced_secret(second, k8s.namespace)
made = k8s.core.create_namespaced_secret(k8s.namespace, secret)

# %%
program = """
import os, mlflow, requests
mlflow.set_experiment("from a job")
url = os.environ["MLFLOW_TRACKING_URI"]
key = {"X-Auth-Token": os.environ["MLFLOW_TRACKING_TOKEN"]}
with mlflow.start_run(run_name="job"), requests.Session() as bare:
    bare.trust_env = False
    foreign = bare.get(url + "/version", headers=key | {"Host": "evil.example"}, timeout=60)
    mlflow.log_params({"pod": os.environ["HOSTNAME"], "foreign name": foreign.status_code})
"""
job, batch = f"log-{second}", kubernetes.BatchV1Api(k8s.core.api_client)
container = {"name": "log", "image": "labs/mlflow:1.0", "command": ["python", "-c", program],
             "envFrom": [{"secretRef": {"name": second}}],
             "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "768Mi"}}}
pod = {"metadata": {"labels": labels("mlflow/08")}, "spec": {"restartPolicy": "Never", "containers": [container]}}
body = {"metadata": {"name": job, "labels": labels("mlflow/08")}, "spec": {"backoffLimit": 1, "template": pod}}

# %%
def old_job() -> list:
    return [one for one in batch.list_namespaced_job(k8s.namespace).items if one.metadata.name == job]


if old_job():
    batch.delete_namespaced_job(job, k8s.namespace, propagation_policy="Foreground")
    wait("the job of an earlier run to be gone", old_job, until=lambda left: not left)
batch.create_namespaced_job(k8s.namespace, body)
ended = wait("the job to end", lambda: batch.read_namespaced_job(job, k8s.namespace).status,
             until=lambda seen: seen.succeeded or seen.failed, deadline=patience)
print(f"succeeded: {ended.succeeded}, failed: {ended.failed}")

# %%
def from_job() -> dict:
    found = api("experiments/get-by-name?experiment_name=from%20a%20job")["experiment"]["experiment_id"]
    (run, *_) = api("runs/search", {"experiment_ids": [found], "max_results": 1}).get("runs", [{}])
    return {one["key"]: one["value"] for one in run["data"]["params"]}


check(
    "A job logged from inside the cluster; under a foreign name the server answers nobody",
    lambda: batch.read_namespaced_job(job, k8s.namespace).status.succeeded == 1
    and from_job()["pod"].startswith(job) and from_job()["foreign name"] == "403",
    saw=from_job,
    hint=[
        "Look at the job: did it succeed?",
        "Usually the address of the Secret is the gateway's, whose certificate a pod does not know: "
        f"`kubectl logs job/{job}` in a terminal shows the job's output.",
        "Run the cells that begin `selector = f`, `program = ` and `def old_job(` again, then this one.",
    ],
)

# %% [markdown]
# The check of the Host header stops DNS rebinding: a web page whose own name resolves to this server's
# address. The server accepts these names: the service's, the gateway's, localhost. Users meet this rule as
# "403 from inside the cluster" when the list lacks the service's name. Add that name; never allow all names,
# or any page that a colleague opens can send requests to your server from that browser.
#
# ## 4. Attack it
#
# A report of 2026 counts 238 tracking servers that were open on the internet; 103 of them returned their
# files, through holes of old advisories. Try these on your own server, **with** the right token: a team
# member's laptop may be compromised, or a page of another site may use its browser. MLflow refuses some of
# these requests when it is started correctly; the guard in front of it refuses the others. Run such a list
# again after each upgrade.

# %% tags=["blank"]
prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
# blank: An experiment named `drill` whose `artifact_location` is the folder `file:///etc`.
# stub: outside = {"name": f"drill {time.time()}"}
# solution
outside = {"name": "drill", "artifact_location": "file:///etc"}
# end of solution
create, versions = "api/2.0/mlflow/experiments/create", "api/2.0/mlflow/model-versions/create"
attacks = [
    ("keep artefacts in a system folder", "POST", create, outside),
    ("keep them on another host", "POST", create, {"name": "drill", "artifact_location": "file://other/etc"}),
    ("put a zero byte into a name", "POST", create, {"name": "drill\0x"}),
    ("climb out of the artefacts", "GET", "api/2.0/mlflow-artifacts/artifacts/..%2f..%2fmlflow.db", None),
    ("climb out, encoded twice", "GET", "api/2.0/mlflow-artifacts/artifacts/%252e%252e%252fmlflow.db", None),
    ("register a system folder", "POST", versions, {"name": "drill", "source": "file:///etc/"}),
    ("register it as a prompt", "POST", versions, {"name": "drill", "source": "file:///etc/", "tags": prompt}),
    ("call an internal address by a webhook", "POST", "api/2.0/mlflow/webhooks", {"name": "w", "url": "http://127.0.0.1:1", "events": []}),
    ("call out through the server", "POST", "ajax-api/2.0/mlflow/gateway-proxy", {}),
    ("run a job in the server", "POST", "ajax-api/3.0/jobs/", {}),
    ("send a request from another site's page", "POST", "api/2.0/mlflow/experiments/search", {"max_results": 1}),
]

# %%
def attack(name: str, method: str, path: str, body: dict | None) -> tuple[int, str]:
    origin = {"Origin": "https://evil.example"} if "another site" in name else {}
    answer = http.request(method, f"{address}/{path}", json=body, headers=origin, timeout=60)
    return answer.status_code, " ".join(answer.text.split())[:90]


refusals = {one[0]: attack(*one) for one in attacks}
show.table([[name, code, words] for name, (code, words) in refusals.items()], columns=["attack", "status", "answer"])

# %%
def places() -> set[str]:
    found = api("experiments/search", {"max_results": 500, "view_type": "ALL"})["experiments"]
    return {one["artifact_location"].split(":")[0] for one in found}


check(
    "Eleven attacks were refused, and the server holds nothing of them",
    lambda: len(refusals) == 11 and {code for code, _ in refusals.values()} <= {400, 403, 404}
    and all(attack(*one)[0] in (400, 403, 404) for one in attacks)
    and places() == {"mlflow-artifacts"} and not api("webhooks").get("webhooks"),
    saw=lambda: ", ".join(str(code) for code, _ in refusals.values()),
    hint=[
        "Look at the column of the status: 400, 403 or 404 in each line.",
        "Usually an attack is none, because its body asks for something that is allowed: "
        "`outside` in a cell shows the first one's.",
        "Run the cells that begin `prompt = [` and `def attack(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Back up, clean up, restore
#
# Test a backup by restoring it. The commands run *in the pod*, beside the server, as with `kubectl exec`:
# `python -m labapps.mlflow backup <name>`. SQLite's backup call copies the database while others write. The
# files of the runs are copied, too, because a database without them restores only half of a run. Log runs
# meanwhile, and count failures.

# %%
def command(*words: str) -> str:
    pods = k8s.core.list_namespaced_pod(k8s.namespace, label_selector=selector).items
    line = ["python", "-m", "labapps.mlflow", *words]
    talk = stream(k8s.core.connect_get_namespaced_pod_exec, pods[0].metadata.name, k8s.namespace, command=line,
                  stdout=True, stderr=True, stdin=False, tty=False, _preload_content=False)
    talk.run_forever(timeout=patience)
    return (talk.read_stdout() + talk.read_stderr()).strip()


found = client.get_experiment_by_name(experiment)
experiment_id = found.experiment_id if found else client.create_experiment(experiment)


def make_run() -> str:
    run_id = client.create_run(experiment_id).info.run_id
    client.log_dict(run_id, {"weight": 1}, "weights.json")
    return run_id


# %% tags=["blank"]
precious, name = make_run(), f"{team}-{int(time.time())}"
with Crowd(make_run) as meanwhile:
    # blank: Let `output` be the output of the command `backup` with this name.
    # stub: output = command("backups")
    # solution
    output = command("backup", name)
    # end of solution
print(output, f"Meanwhile {meanwhile.asked} runs were logged, {meanwhile.failed} failed.")

# %% [markdown]
# Now somebody deletes the precious run. MLflow only marks it as deleted, and the mark can be removed. Then the
# nightly clean-up, `mlflow gc`, permanently removes what is marked, files included. It does not check
# whether a registered model or a report refers to the run.

# %%
client.delete_run(precious)
print(command("gc")[-300:])


def state_of(run_id: str) -> str:
    answer = http.get(f"{address}/api/2.0/mlflow/runs/get", params={"run_id": run_id}, timeout=30)
    file = http.get(f"{address}/get-artifact", params={"run_id": run_id, "path": "weights.json"}, timeout=30)
    return f"run {answer.status_code}, file {file.status_code}"


print(state_of(precious))

# %% [markdown]
# `restore` compares the digests and lays the backup ready; then the server ends, and its container starts
# again with the restored database. Until it ends, the old database answers. So you wait for one more
# restart of the container and for the run, not for the run alone.

# %%
def restarts() -> int:
    (pod,) = k8s.core.list_namespaced_pod(k8s.namespace, label_selector=selector).items
    return pod.status.container_statuses[0].restart_count


# %% tags=["blank"]
before = restarts()
# blank: Let `laid` be the output of the command `restore` with the name of your backup.
# stub: laid = command("backups")
# solution
laid = command("restore", name)
# end of solution
print(laid)
if "laid ready" in laid:
    print(wait("the server to be back with the run", lambda: restarts() > before and state_of(precious),
               until=lambda seen: seen == "run 200, file 200", deadline=patience, ignoring=(requests.RequestException,)))

# %%
check(
    "No run failed during the backup, and the restore brought back what was removed",
    lambda: (meanwhile.failed, meanwhile.asked > 0) == (0, True) and name in command("backups")
    and state_of(precious) == "run 200, file 200" and up(),
    saw=lambda: f"{meanwhile.asked} runs during the backup, {meanwhile.failed} failed; {state_of(precious)}",
    hint=[
        "Look at the state of the precious run: 200 twice.",
        "Usually there is no backup of that name, or the server has not come back yet: "
        "`command('backups')` in a cell lists the backups.",
        "Type `precious = make_run()`, then run the cell that begins `precious, name` and those that begin "
        "`client.delete_run(` and `before = ` again.",
    ],
)

# %% [markdown]
# A backup is a folder with both databases, the files of all runs, and a list with the digest of each. A
# restore compares the digests first, and refuses a backup in which one byte has changed. The replaced
# database is kept as `mlflow.db.before-restore`, in case you restored the wrong backup.
#
# While the server restarted, requests got no answer, and what was logged after the backup is lost. So plan a
# restore like an outage.
#
# ## 6. Upgrade a database of 2025
#
# A new release often changes the database schema. MLflow refuses an old database until it is **migrated**,
# and its message asks for a backup first, because an interrupted migration cannot be undone. Your server
# does both when it starts. Try it with a database that MLflow 2.22.5 wrote, as if it were a backup of then.

# %%
source = data.datasets() / "mlflow" / "release-2.22.5.db"
folder = fresh(project_repo() / "mlflow-backups" / second / "release-2.22.5")
folder.mkdir(parents=True)
shutil.copyfile(source, folder / "mlflow.db")
digest = hashlib.sha256((folder / "mlflow.db").read_bytes()).hexdigest()
listed = {"made": "2025-06-01T00:00:00+00:00", "mlflow": "2.22.5", "schema": "0584bdc529eb", "files": {"mlflow.db": digest}}
written = (folder / "backup.json").write_text(json.dumps(listed))


def old_runs() -> list[dict]:
    found = api("experiments/get-by-name?experiment_name=wine%20of%202025")["experiment"]["experiment_id"]
    return api("runs/search", {"experiment_ids": [found]}).get("runs", [])


before = restarts()
print(command("restore", "release-2.22.5"))
wait("the migrated server", lambda: restarts() > before and len(old_runs()), deadline=patience,
     ignoring=(requests.RequestException,))
print(command("backups"))

# %%
def steps() -> list[int]:
    (run, *_) = [one for one in old_runs() if one["info"]["run_name"] == "alpha 0.5"]
    history = api(f"metrics/get-history?run_id={run['info']['run_id']}&metric_key=rmse")["metrics"]
    return [one["step"] for one in history]


check(
    "The server of today answers with the runs of 2025, and kept a backup from before the migration",
    lambda: up() and len(old_runs()) == 2 and steps() == [0, 1, 2] and "before-" in command("backups"),
    saw=lambda: f"{len(old_runs())} runs, steps {steps()}",
    hint=[
        "Look at the list of backups: one is called `before-` and a number.",
        "Usually the server has not come back yet, or refused the backup: "
        f"`kubectl logs --selector {selector}` in a terminal shows its log.",
        "Run the cell that begins `source = data` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **403, `This server is not called …`, inside the cluster**: the server does not accept this name. Use the
#   full name of its service.
# - **`Detected out-of-date database schema`**, with `mlflow server` elsewhere: save the file, then type
#   `mlflow db upgrade` with its address.
# - **`gc` removes the run and leaves its files**: without the server's address the command cannot reach the
#   proxied files. Set `MLFLOW_TRACKING_URI` for it.

# %% [markdown]
# ## Exercise
#
# How large are the backups? Store in `sizes` the number of files of each backup of your second server, by its
# name.
#
# Hint: each folder below `mlflow-backups` has a `backup.json` with a list of files.

# %% tags=["exercise"]
# stub: sizes = {}
# solution
lists = (project_repo() / "mlflow-backups" / second).glob("*/backup.json")
sizes = {one.parent.name: len(json.loads(one.read_text())["files"]) for one in lists}
# end of solution
print(sizes)

# %% [markdown]
# ## Recap
#
# - Two **servers** for two teams: sixty requests, and each token was accepted by one server.
# - A **job** logged from inside the cluster, with address and token from a Secret.
# - Eleven **attacks** were refused, and the server holds nothing of them.
# - During a **backup** no request failed, its **restore** was tried, and a database of 2025 was **migrated**.
#
# Read on: [security of the tracking server](https://mlflow.org/docs/latest/self-hosting/security/network/) and
# [migrations](https://mlflow.org/docs/latest/self-hosting/migration/). Next: patterns of containers that work together.

# %%
quiz(
    "Two teams share one server with a table of permissions. What is the usual mistake?",
    ["It is too slow", "The default lets everybody read", "It has no token"],
    right=1,
    because="MLflow's default permission is READ: each team can read the other's runs.",
)
quiz(
    "A run was deleted by mistake. Until when is it still there?",
    ["Until the next `gc`", "Until the server restarts", "It is gone at once"],
    right=0,
    because="Deleting marks; gc removes what is marked, with its files.",
)
quiz(
    "A migration broke off in the middle. What do you need?",
    ["A second migration", "The older release", "The backup from before, and the older release"],
    right=2,
    because="A migration cannot be undone; the older release reads the older tables.",
)

# %% [markdown]
# ## Clean up
#
# To remove the second server and what else carries this lab's label, type `finished = True` in a cell and run
# this one; running it twice is safe. Backups stay in your folder of the project repository.

# %%
if finished and old_job():
    batch.delete_namespaced_job(job, k8s.namespace, propagation_policy="Foreground")
print(remove(k8s, "mlflow/08") if finished else f"Kept: {second} and its backups.")
