# %% [markdown]
# # Lab mlops-03: Airflow
#
# Deploy Apache Airflow, add a DAG by writing a file, run it over REST, and read logs and import errors.

# %% [markdown]
# ## What you will build
#
# - Your own **Airflow**: API server, scheduler, DAG processor and triggerer in one pod.
# - A **connection** to your workbench, stored in a Secret and not in a DAG file.
# - A **DAG** of two tasks, parsed seconds after you write its file, started and followed over REST.
# - An **import error** that you cause, find and fix.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlops-02 | The workbench and the scored loans | its last checkpoint |
# | The `airflow` app | It has its own Python environment | `labs setup airflow` |
# | 1 GB of free memory | Airflow's processes take about 0.7 GB | `free -h` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
project_name: str = "loans"  # the project of lab mlops-02
dag_name: str = "first"  # the name of your DAG and of its file
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup

# %%
import json
from base64 import b64encode

import pandas as pd
import requests
from kubernetes import client

from labhelpers import begin, check, quiz, settings, show, wait
from labhelpers.cluster import apply, caller, cluster_of, connect, labels, wait_configured

begin("mlops/03")
place, k8s = settings(), connect()
bench, flow = f"workbench-{place.user}", f"airflow-{place.user}"

# %% [markdown]
# ## 1. Create a connection
#
# Airflow starts jobs of your workbench, so it needs the address and an API key. Airflow calls this a
# **connection**, and reads it from an environment variable such as `AIRFLOW_CONN_JOBS`. You create a
# key for the user `pipeline` and store the connection in a Secret under this name. DAGs use the name
# of the connection, never the key.

# %%
ordered = cluster_of("mlops-02", k8s, bench)
http, workbench = caller(k8s, bench, "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"
made = http.post(f"{workbench}/api/v2/users/pipeline/v2_keys", json={"comments": "for Airflow"}, timeout=60)
made.raise_for_status()
selector = f"kubedirector.hpe.com/kdcluster={bench},kubedirector.hpe.com/role=Workbench"
(service,) = k8s.core.list_namespaced_service(k8s.namespace, label_selector=selector).items
inside = f"http://{service.metadata.name}.{k8s.namespace}.svc.cluster.local:10001"

# %% tags=["blank"]
connection = {"conn_type": "http", "host": inside, "password": made.json()["api_key"]}
secret_name = f"airflow-jobs-{place.user}"
marked = {"kubedirector.hpe.com/secretType": "airflow", **labels("mlops/03")}
# blank: Let `content` be {"AIRFLOW_CONN_JOBS": the connection as JSON text}.
# stub: content = {}
# solution
content = {"AIRFLOW_CONN_JOBS": json.dumps(connection)}
# end of solution
encoded = {name: b64encode(text.encode()).decode() for name, text in content.items()}
secret = client.V1Secret(metadata=client.V1ObjectMeta(name=secret_name, labels=marked), data=encoded)
try:
    k8s.core.create_namespaced_secret(k8s.namespace, secret)
except client.ApiException as error:
    if error.status != 409:  # 409: it is there from an earlier run of this cell
        raise
    k8s.core.replace_namespaced_secret(secret_name, k8s.namespace, secret)

# %%
def secret_keys() -> set[str]:
    return set(k8s.core.read_namespaced_secret(secret_name, k8s.namespace).data or {})


check(
    "The Secret holds one connection",
    lambda: secret_keys() == {"AIRFLOW_CONN_JOBS"},
    saw=lambda: f"keys of the Secret: {', '.join(secret_keys()) or 'none'}",
    hint=[
        f"Look at the Secret {secret_name}: its only key must be AIRFLOW_CONN_JOBS.",
        f"Usually the key has another name: `kubectl describe secret {secret_name}` in a terminal shows it.",
        "Run the cells that begin `ordered = cluster_of(` and `connection = {` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Deploy Airflow and sign in
#
# The volume keeps Airflow's database with the history of all runs. The cluster is configured when all
# four components have sent a heartbeat to that database. You sign in as `learner`; the password is the
# token of the service. Airflow returns its own access token.

# %%
size = {"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
role = {"id": "controller", "members": 1, "storage": {"size": "1Gi"}, "resources": size}
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": flow, "labels": labels("mlops/03")},
    "spec": {"app": "airflow", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": [role],
             "connections": {"secrets": [secret_name]}},
}
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, flow, deadline=600)

# %% tags=["blank"]
web, airflow = caller(k8s, flow, "controller", 8080)
password = web.headers.pop("X-Auth-Token")
# blank: POST username `learner` and the password as JSON to `airflow` + "/auth/token"; store the
# blank: response in `session`. Use a timeout of 60 seconds.
# stub: session = web.get(f"{airflow}/api/v2/version", timeout=60)
# solution
session = web.post(f"{airflow}/auth/token", json={"username": "learner", "password": password}, timeout=60)
# end of solution
web.headers["Authorization"] = f"Bearer {session.json().get('access_token')}"


def ask(verb: str, path: str, body: dict | None = None) -> dict:
    answer = web.request(verb, f"{airflow}/api/v2/{path}", json=body, timeout=60)
    if not answer.ok:
        raise requests.HTTPError(f"{verb} {path}: {answer.status_code} {answer.text[:200]}")
    return answer.json()


health = ask("GET", "monitor/health")
show.table([[name, part["status"]] for name, part in health.items()], columns=["component", "status"])

# %%
def status_codes() -> tuple[int, int]:
    wrong = {"username": "learner", "password": "wrong"}
    refused = requests.post(f"{airflow}/auth/token", json=wrong, verify=str(place.ca), timeout=60)
    return web.get(f"{airflow}/api/v2/dags", timeout=60).status_code, refused.status_code


check(
    "Airflow is healthy, accepts your token, and refuses a wrong password",
    lambda: status_codes() == (200, 401)
    and {ask("GET", "monitor/health")[part]["status"] for part in ("scheduler", "triggerer", "dag_processor")}
    == {"healthy"},
    saw=lambda: "with your token HTTP {}, with a wrong password HTTP {}".format(*status_codes()),
    hint=[
        f"Look at the kdcluster {flow}: is it configured, and are all components healthy?",
        "Usually Airflow is still starting, or its token was not stored: "
        f"`kubectl logs -l kubedirector.hpe.com/kdcluster={flow} --tail=20` in a terminal shows its log.",
        "Run the cells that begin `size = {` and `web, airflow` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Write a DAG
#
# A **DAG** is a Python file that defines tasks and their dependencies. Airflow scans a folder of the
# project repository every few seconds. Your DAG counts the loans that the job `infer` scored in lab
# mlops-02.

# %%
found = http.get(f"{workbench}/api/v2/projects?page_size=100", timeout=60).json()["projects"]
project = next(one["id"] for one in found if one["name"] == project_name)
dags = place.project_repo / "airflow" / flow / "dags"

# %%
text = f'''
import csv, os
from airflow.sdk import dag, task

@dag(dag_id="{dag_name}", schedule=None)
def scored_loans():
    @task
    def count():
        path = os.environ["PROJECT_REPO"] + "/workbench/projects/{project}/scored.csv"
        with open(path) as file:
            return sum(1 for _ in csv.DictReader(file))

    @task
    def log(rows):
        print(f"{{rows}} loans have a score")

    log(count())

scored_loans()
'''

# %% tags=["blank"]
def is_parsed() -> bool:
    names = {one["dag_id"] for one in ask("GET", "dags?limit=100")["dags"]}
    return dag_name in names and ask("GET", "importErrors")["total_entries"] == 0


# blank: Write `text` into the file `dags` / (dag_name + ".py").
# solution
written = (dags / f"{dag_name}.py").write_text(text)
# end of solution

# %%
def file_parsed() -> bool:
    return wait("Airflow to parse the DAG", is_parsed, deadline=120, ignoring=(OSError,)) is True


check(
    "Airflow has parsed your DAG, and no file has an import error",
    lambda: file_parsed() and ask("GET", "importErrors")["total_entries"] == 0,
    saw=lambda: f"DAGs: {', '.join(one['dag_id'] for one in ask('GET', 'dags?limit=100')['dags'])}",
    hint=[
        "Look at the list of DAGs, and at the import errors if there are any.",
        f"Usually the file is not there or does not parse: `ls {dags}` in a terminal lists the files.",
        "Run the cells that begin `found = http`, `text = f` and `def is_parsed` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Run it over REST
#
# A new DAG is **paused**: its runs do not start. You unpause it and create a run. The scheduler starts
# each task as a process when the tasks before it have succeeded.

# %%
ask("PATCH", f"dags/{dag_name}", {"is_paused": False})
run = ask("POST", f"dags/{dag_name}/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"]


def newest() -> dict:
    listed = ask("GET", f"dags/{dag_name}/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
    return listed[0]


wait("the run to end", lambda: newest()["state"], until=lambda state: state in ("success", "failed"),
     deadline=600, every=1, ignoring=(OSError,))
tasks = ask("GET", f"dags/{dag_name}/dagRuns/{run}/taskInstances")["task_instances"]
taken = pd.DataFrame([{"task": one["task_id"], "seconds": one["duration"]} for one in tasks])
show.bars(taken, "task", "seconds", "Most of a short task is the start of its process", unit="seconds")

# %%
def task_states() -> dict[str, str]:
    listed = ask("GET", f"dags/{dag_name}/dagRuns/{newest()['dag_run_id']}/taskInstances")["task_instances"]
    return {one["task_id"]: one["state"] for one in listed}


check(
    "Both tasks of the newest run succeeded",
    lambda: task_states() == {"count": "success", "log": "success"},
    saw=lambda: ", ".join(f"{name}: {state}" for name, state in task_states().items()),
    hint=[
        "Look at the states: which task did not succeed?",
        "Usually the file of lab mlops-02 is missing: "
        f"`ls {place.project_repo / 'workbench' / 'projects'}` in a terminal lists the projects.",
        "Run the cell that begins `ask(\"PATCH\", f\"dags` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Read logs and XComs
#
# Each try of a task has a log file on the project repository. The REST API returns it as a list of
# events. The return value of a task is stored as an **XCom** and passed to the next task.

# %%
def log_of(task: str, number: int = 1) -> list[str]:
    path = f"dags/{dag_name}/dagRuns/{newest()['dag_run_id']}/taskInstances/{task}/logs/{number}"
    return [event["event"] for event in ask("GET", f"{path}?full_content=true")["content"]]


returned = ask("GET", f"dags/{dag_name}/dagRuns/{run}/taskInstances/count/xcomEntries/return_value")
print("count returned", returned["value"])
print("log of the task `log`:", *[line for line in log_of("log") if "loans" in line], sep="\n    ")

# %%
def logged() -> int:
    (line,) = [line for line in log_of("log") if line.endswith("loans have a score")]
    return int(line.split()[0])


def scored() -> int:
    file = place.project_repo / "workbench" / "projects" / project / "scored.csv"
    return len(pd.read_csv(file))


check(
    "The number of loans in the log is the number in the file",
    lambda: logged() == scored() > 0,
    saw=lambda: f"log: {logged():,}; file: {scored():,}",
    hint=[
        "Look at the log's last lines: does the task `log` print a number?",
        "Usually the log was read before its last line was written: `log_of('log')[-3:]` in a cell.",
        "Run the cells that begin `ask(\"PATCH\", f\"dags` and `def log_of` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Cause an import error and fix it
#
# If a DAG file cannot be imported, its DAG is missing. There is no failed run either, because there is
# nothing to run. So monitor the import errors, too. You write such a file next to the first one.

# %%
wrong = dags / "broken.py"
wrong.write_text("from airflow.sdk import dag\nimport pandas_of_tomorrow\n")


def broken() -> list[dict]:
    return ask("GET", "importErrors")["import_errors"]


seen = wait("the import error", broken, until=bool, deadline=120, ignoring=(OSError,))
print(seen[0]["filename"], *seen[0]["stack_trace"].strip().splitlines()[-1:], sep="\n    ")

# %%
check(
    "The import error names the file and the missing module",
    lambda: any("pandas_of_tomorrow" in one["stack_trace"] for one in broken()),
    saw=lambda: "; ".join(one["filename"] for one in broken()),
    hint=[
        "Look at the list of import errors: a file name and a traceback.",
        f"Usually the file was fixed or deleted already: `ls {dags}` in a terminal lists the files.",
        "Run the cell that begins `wrong = dags` again, then this one.",
    ],
)

# %%
wrong.unlink(missing_ok=True)
wait("the error to go", broken, until=lambda errors: not errors, deadline=120, ignoring=(OSError,))
print("import errors:", len(broken()), "| DAGs:", [one["dag_id"] for one in ask("GET", "dags?limit=100")["dags"]])

# %% [markdown]
# ## If it does not work
#
# - **The pod waits for an environment**: Airflow is not installed. Run `labs setup airflow`; the pod
#   then starts without another command.
# - **401 in the middle of the lab**: Airflow's token has expired. Run the cell that begins `web, airflow`.
# - **The run stays `queued`**: Airflow runs four tasks at a time. Wait, or look at the pools on its page.

# %% [markdown]
# ## Exercise
#
# How many seconds are between the end of `count` and the start of `log`? This is the scheduling
# overhead. Store it in `gap`.
#
# Hint: each entry of `tasks` has a `start_date` and an `end_date`; `pd.Timestamp` reads both.

# %% tags=["exercise"]
# stub: gap = None
# solution
times = {one["task_id"]: one for one in tasks}
gap = (pd.Timestamp(times["log"]["start_date"]) - pd.Timestamp(times["count"]["end_date"])).total_seconds()
# end of solution
print("seconds between the tasks:", gap)

# %% [markdown]
# ## Recap
#
# - **Airflow** runs in a pod, with its DAGs and logs on the project repository.
# - The **connection** comes from a Secret; no DAG and no notebook contains the key.
# - The **DAG** was a file; you started it and read states and logs over REST.
# - The **import error** caused no failed run; it is in the list of import errors.
#
# More: [the architecture of Airflow](https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/overview.html),
# [connections](https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html),
# [the REST API](https://airflow.apache.org/docs/apache-airflow/stable/stable-rest-api-ref.html).
#
# Next: the pipeline, with your jobs as tasks.

# %%
quiz(
    "A DAG file has an import error. What do you see in the list of runs?",
    ["Nothing", "A failed run", "A run that waits"],
    right=0,
    because="Without a DAG there is no run; only the list of import errors shows it.",
)
quiz(
    "Where is the API key of the workbench stored?",
    ["In the DAG", "In the log", "In a Secret that only Airflow's pod gets"],
    right=2,
    because="The DAG uses the connection `jobs`; its value comes from the pod's environment.",
)
quiz(
    "What does Airflow do with the return value of a task?",
    ["It prints it", "It stores it as an XCom for the next task", "It drops it"],
    right=1,
    because="XComs are for small values; data belongs in tables and files.",
)

# %% [markdown]
# ## Clean up
#
# Airflow stays for the next labs. The DAG of this lab is deleted.

# %%
if finished:
    (dags / f"{dag_name}.py").unlink(missing_ok=True)
print("kept:", flow, "and the Secret", secret_name)
