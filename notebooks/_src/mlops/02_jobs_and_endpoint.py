# %% [markdown]
# # Lab mlops-02: Jobs and endpoint
#
# Train the model, deploy it, call it and score a batch with four chained jobs.

# %% [markdown]
# ## What you will build
#
# - Your own **workbench**: an API for projects, jobs, models and deployments.
# - Four **chained jobs**: train, push, simulate, infer; each starts when the one before succeeded.
# - An **endpoint** of two replicas that scores loans without Spark; it agrees with Spark to 1e-9.
# - A chain whose parent succeeds and whose **child fails**, and where you see it.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-01 | A kubeconfig for your tenant | `kubectl get pod` |
# | Lab mlops-01 | The table with the tag that the jobs train on | its last checkpoint |
# | The `workbench` app | It runs jobs and deployments as pods | `kubectl get kdapp workbench` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
project_name: str = "loans"  # the project that the pipeline lives in
batch_rows: int = 1_000  # how many loans the first month has
seed: int = 7  # the same seed makes the same loans
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup
#
# You work with a REST API and a few short files. The pod of a job has the libraries of the labs, the
# project's folder, and the project repository with the warehouse.

# %%
import json

import pandas as pd
import requests

from labhelpers import begin, check, data, file_of, quiz, settings, show, wait, workspace
from labhelpers.cluster import apply, caller, connect, labels, wait_configured

begin("mlops/02")
place, k8s = settings(), connect()
home, bench = workspace("mlops"), f"workbench-{place.user}"
trained = json.loads(file_of("mlops-01", home / "baseline.json").read_text())

# %% [markdown]
# ## 1. Deploy a workbench
#
# You deploy the workbench like every application of the catalogue. Its service account may create Jobs
# and Deployments in your tenant, and nothing else. Its token is the administrator's API key.

# %%
size = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
role = {"id": "Workbench", "members": 1, "serviceAccountName": "workbench", "resources": size}
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": bench, "labels": labels("mlops/02")},
    "spec": {"app": "workbench", "appCatalog": "local", "namingScheme": "CrNameRole", "roles": [role]},
}
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, bench)

# %%
http, address = caller(k8s, bench, "Workbench", 10001)
http.headers["Authorization"] = f"Bearer {http.headers.pop('X-Auth-Token')}"


def ask(verb: str, path: str, body: dict | None = None, **more) -> dict:
    answer = http.request(verb, f"{address}/api/v2{path}", json=body, timeout=60, **more)
    if not answer.ok:
        raise requests.HTTPError(f"{verb} {path}: {answer.status_code} {answer.text[:200]}")
    return answer.json()


runtimes = ask("GET", "/runtimes")["runtimes"]
show.table([[one["image_identifier"], one["kernel"]] for one in runtimes], columns=["image", "kernel"])

# %%
def status_codes() -> tuple[int, int]:
    anonymous = requests.get(f"{address}/api/v2/projects", verify=str(place.ca), timeout=30)
    return http.get(f"{address}/api/v2/projects", timeout=30).status_code, anonymous.status_code


check(
    "The workbench accepts your key, and refuses a request without a key",
    lambda: status_codes() == (200, 401),
    saw=lambda: "with the key HTTP {}, without it HTTP {}".format(*status_codes()),
    hint=[
        f"Look at the kdcluster {bench}: is it configured?",
        f"Usually it is still starting, or was deleted: `kubectl get kdcluster {bench}` in a terminal.",
        "Run the cells that begin `size = {` and `http, address` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Write the program that trains
#
# A **project** is a folder that all its jobs share. `train.py` reads `handed.json`: the columns to
# train on, and the tag of the training rows. It exports the model as **JSON**: means, standard
# deviations, weights. So the endpoint computes a score without Spark and Java.

# %%
found = [one for one in ask("GET", "/projects?page_size=100")["projects"] if one["name"] == project_name]
project = (found or [ask("POST", "/projects", {"name": project_name})])[0]["id"]

learn = '''
import json, os
os.environ.setdefault("LABS_CACHE", os.environ["PROJECT_REPO"] + "/cache")
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import functions as F
from labhelpers import spark_session

handed = json.load(open("handed.json"))
spark = spark_session("train")
loans = spark.sql(f"SELECT * FROM {handed['table']} VERSION AS OF '{handed['tag']}'")
loans = loans.withColumn("bad", (F.col("loan_status") == "Charged Off").cast("double"))
is_held = F.abs(F.hash("loan_id")) % 10 >= 7
train, held = loans.where(~is_held), loans.where(is_held)
'''

# %%
fit = '''
# fit
assembler = VectorAssembler(inputCols=handed["columns"], outputCol="raw", handleInvalid="error")
scaler = StandardScaler(inputCol="raw", outputCol="features", withMean=True)
regression = LogisticRegression(labelCol="bad", maxIter=50)
model = Pipeline(stages=[assembler, scaler, regression]).fit(train)
scale, line = model.stages[1], model.stages[2]
made = {"numbers": handed["columns"], "mean": scale.mean.tolist(), "std": scale.std.tolist(),
        "weights": line.coefficients.tolist(), "bias": line.intercept, "texts": {}}
'''

# %%
keep = '''
# keep
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.functions import vector_to_array
from labapps.workbench.track import publish

scored = model.transform(held)
json.dump(made, open("model.json", "w"))
some = scored.orderBy("loan_id").limit(200).withColumn("spark", vector_to_array("probability")[1])
some.select(*held.columns, "spark").toPandas().to_json("sample.json", orient="records")
publish("rows", train.count())
publish("tag", handed["tag"])
publish("auc", BinaryClassificationEvaluator(labelCol="bad").evaluate(scored))
'''

# %% [markdown]
# Three more programs are short. `push.py` deploys the model if it differs from the deployed one.
# `simulate.py` calls the endpoint as customers do. `infer.py` scores the file of a month, and publishes
# how many rows it read, scored and refused.

# %%
predict = '''
import json, math, pathlib
model = json.loads((pathlib.Path(__file__).parent / "model.json").read_text())


def chance(row):
    z = model["bias"]
    for name, mean, std, weight in zip(model["numbers"], model["mean"], model["std"], model["weights"]):
        z += weight * (float(row[name]) - mean) / std
    for name, weights in model["texts"].items():
        z += weights.get(row.get(name), 0.0)
    return 1 / (1 + math.exp(-z))


def predict(request):
    return {"version": model["version"], "chances": [chance(row) for row in request["rows"]]}


predict.quick = True  # it answers within a millisecond: no thread is needed
'''

# %%
client = '''
import hashlib, json, os, pathlib, sys, time
import requests
from labapps.workbench.track import publish

url, project = os.environ["WORKBENCH_URL"], os.environ["PROJECT"]
http = requests.Session()
http.headers["Authorization"] = "Bearer " + os.environ["WORKBENCH_KEY"]
state = pathlib.Path("deployed.json")
serving = json.loads(state.read_text()) if state.exists() else {"version": 0, "digest": ""}


def ask(verb, path, body=None):
    answer = http.request(verb, f"{url}/api/v2/projects/{project}/{path}", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()
'''

# %%
push = '''
made = json.load(open("model.json")) | {"version": 0}
digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
if digest != serving["digest"]:
    version = serving["version"] + 1
    pathlib.Path("model.json").write_text(json.dumps(made | {"version": version}))
    known = [one for one in ask("GET", "models")["models"] if one["name"] == "loans"]
    model = known[0] if known else ask("POST", "models", {"name": "loans"})
    builds = f"models/{model['id']}/builds"
    build = ask("POST", builds, {"file_path": "predict.py", "function_name": "predict"})
    deployments = f"{builds}/{build['id']}/deployments"
    one = ask("POST", deployments, {"replicas": 2, "cpu": "0.25", "memory": 0.5})
    while (found := ask("GET", f"{deployments}/{one['id']}"))["status"] != "deployed":
        if found["status"] in ("failed", "stopped"):
            sys.exit(found["reason"])
        time.sleep(0.5)
    serving = {"version": version, "digest": digest, "access_key": model["access_key"], "crn": one["crn"]}
    state.write_text(json.dumps(serving))
publish("version", serving["version"])
'''

# %%
simulate = '''
rows, failed = json.load(open("sample.json")), 0
for at in range(0, len(rows), 20):
    asked = {"accessKey": serving["access_key"], "request": {"rows": rows[at : at + 20]}}
    answer = http.post(f"{url}/model", json=asked, timeout=60)
    failed += not answer.ok
publish("calls", len(range(0, len(rows), 20)))
publish("calls_failed", failed)
'''

# %%
infer = '''
import json
import pandas as pd
from labapps.workbench.track import publish
from predict import chance, model

handed = json.load(open("handed.json"))
loans = pd.read_csv(handed["batch"])
complete = loans.dropna(subset=model["numbers"])
scored = complete[["loan_id"]].assign(chance=[chance(row) for row in complete.to_dict("records")])
scored.to_csv("scored.csv", index=False)
publish("rows_in", len(loans)); publish("rows_scored", len(scored))
publish("rows_refused", len(loans) - len(complete))
'''

# %% [markdown]
# The first batch is valid: January 2024, with the five numeric columns. `handed.json` names it for the jobs.

# %% tags=["blank"]
month, _ = data.make_batch("good", "2024-01", batch_rows, seed)
handed = {"table": trained["table"], "tag": trained["tag"], "columns": trained["columns"], "batch": "2024-01.csv"}
programs = {"train.py": learn + fit + keep, "push.py": client + push, "simulate.py": client + simulate,
            "infer.py": infer, "predict.py": predict, "handed.json": json.dumps(handed),
            "2024-01.csv": month.to_csv(index=False)}
files = f"/projects/{project}/files"
# blank: PUT each text of `programs` to `files` + "/" + its name; `ask` hands `data=` on to requests.
# solution
for name, text in programs.items():
    ask("PUT", f"{files}/{name}", data=text.encode())
# end of solution


def listed() -> set[str]:
    return {one["path"] for one in ask("GET", files)["files"]}


# %%
check(
    "The project has the five programs, the batch and handed.json",
    lambda: set(programs) <= listed(),
    saw=lambda: ", ".join(sorted(listed() & set(programs))),
    hint=[
        "Look at the list of files: five programs, one CSV file, one JSON file.",
        "Usually the project was created again and is empty: `ask('GET', files)` in a cell lists its files.",
        "Run the cells that begin `found = [one` and `month, _ = data` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Chain four jobs
#
# A **job** has a script and a size. A job with a **parent** starts when a run of the parent has
# succeeded. Two of the jobs call the workbench. They use an API key of the user `pipeline`, who may
# write in this project and nowhere else.

# %%
ask("PUT", f"/projects/{project}/collaborators/pipeline", {"permission": "write"})
key = ask("POST", "/users/pipeline/v2_keys", {"comments": "for the jobs"})["api_key"]
selector = f"kubedirector.hpe.com/kdcluster={bench},kubedirector.hpe.com/role=Workbench"
(service,) = k8s.core.list_namespaced_service(k8s.namespace, label_selector=selector).items
inside = f"http://{service.metadata.name}.{k8s.namespace}.svc.cluster.local:10001"
variables = {"EZMERAL_USER": place.user, "PROJECT": project, "WORKBENCH_URL": inside, "WORKBENCH_KEY": key}
jobs = f"/projects/{project}/jobs"


def job_of(name: str, **fields) -> str:
    known = {one["name"]: one["id"] for one in ask("GET", f"{jobs}?page_size=100")["jobs"]}
    body = {"name": name, "script": f"{name}.py", "cpu": 1, "memory": 2, "environment": variables, **fields}
    if name in known:
        return ask("PATCH", f"{jobs}/{known[name]}", body)["id"]
    return ask("POST", jobs, body)["id"]


# %% tags=["blank"]
first = job_of("train")
# blank: Make the jobs push, simulate and infer, each with the job before it as its `parent_job_id`.
# solution
parent = first
for name in ("push", "simulate", "infer"):
    parent = job_of(name, parent_job_id=parent)
# end of solution


def chain() -> list[str]:
    found = {one["id"]: one for one in ask("GET", f"{jobs}?page_size=100")["jobs"]}
    children = {one["parent_id"]: one for one in found.values() if one["parent_id"]}
    names, at = [], found[first]
    while at:
        names, at = [*names, at["name"]], children.get(at["id"])
    return names


# %%
check(
    "The four jobs are a chain",
    lambda: chain() == ["train", "push", "simulate", "infer"],
    saw=lambda: " → ".join(chain()),
    hint=[
        "Look at the chain: it must begin with train and end with infer.",
        "Usually all jobs have the same parent: `ask('GET', jobs)` in a cell shows each job's parent.",
        "Run the cells that begin `ask(\"PUT\", f\"/projects` and `first = job_of` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Run the chain
#
# You start the first job. The `run_key` is an idempotency key: a second request with the same key, for
# example after a lost response, returns the same run and starts no second one. `?tree=1` returns a run
# with its child runs.

# %% tags=["blank"]
def tree_of(job: str, run: str) -> dict:
    return ask("GET", f"{jobs}/{job}/runs/{run}?tree=1")


def runs_in(tree: dict) -> list[dict]:
    return [tree, *(run for child in tree.get("children", []) for run in runs_in(child))]


turn = sum(1 for one in ask("GET", f"{jobs}/{first}/runs?page_size=100")["job_runs"])
# blank: Start the job `first` with the key "lab-02-" and the number `turn`; let `run` be the run's id.
# stub: run = "none"
# solution
run = ask("POST", f"{jobs}/{first}/runs", {"run_key": f"lab-02-{turn}"})["id"]
# end of solution

# %%
GOOD, OPEN = "ENGINE_SUCCEEDED", {"ENGINE_SCHEDULING", "ENGINE_STARTING", "ENGINE_RUNNING"}


def states() -> list[str]:
    newest = max(ask("GET", f"{jobs}/{first}/runs?page_size=100")["job_runs"], key=lambda one: one["created_at"])
    return [one["status"] for one in runs_in(tree_of(first, newest["id"]))]


def is_over(seen: list[str]) -> bool:
    return seen == [GOOD] * 4 or bool(set(seen) - OPEN - {GOOD})


if run != "none":
    wait("the four runs", states, until=is_over, deadline=900, every=1)
    for one in runs_in(tree_of(first, run)):
        print(one["script"], one["status"], one["facts"])

# %%
def facts() -> dict:
    newest = max(ask("GET", f"{jobs}/{first}/runs?page_size=100")["job_runs"], key=lambda one: one["created_at"])
    return {k: v for one in runs_in(tree_of(first, newest["id"])) for k, v in one["facts"].items()}


check(
    "All four runs succeeded, the AUC is the baseline's, and no loan is missing",
    lambda: states() == [GOOD] * 4 and abs(facts()["auc"] - trained["auc"]) < 1e-9
    and facts()["rows_in"] == facts()["rows_scored"] + facts()["rows_refused"] == batch_rows,
    saw=lambda: f"{len(states())} runs, AUC {facts()['auc']:.4f}, {facts()['rows_scored']:,} loans scored",
    hint=[
        "Look at the printed states: which run did not succeed?",
        "Usually one program has an error; its log shows which: "
        "`ask('GET', f'{jobs}/{first}/runs/{run}/logs')['logs'][-900:]` in a cell shows its end.",
        "Run the cells that begin `month, _ = data`, `def tree_of(` and `GOOD, OPEN` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Call the endpoint
#
# A call carries the access key of the model and your API key. You send the 200 loans for which the job
# saved Spark's own probability, and look at the largest difference.

# %%
deployed = json.loads(http.get(f"{address}/api/v2{files}/deployed.json", timeout=30).content)
sample = json.loads(http.get(f"{address}/api/v2{files}/sample.json", timeout=30).content)


def call(rows: list[dict], headers: dict | None = None) -> requests.Response:
    body = {"accessKey": deployed["access_key"], "request": {"rows": rows}}
    return http.post(f"{address}/model", json=body, headers=headers, timeout=60)


# %%
answers = call(sample).json()["response"]["prediction"]
apart = pd.DataFrame({"Spark": [row["spark"] for row in sample], "endpoint": answers["chances"]})
apart["difference"] = (apart["Spark"] - apart["endpoint"]).abs()
show.table(apart.nlargest(3, "difference"), f"The three largest differences, version {answers['version']}")

# %%
def parity() -> float:
    chances = call(sample).json()["response"]["prediction"]["chances"]
    return max(abs(row["spark"] - chance) for row, chance in zip(sample, chances, strict=True))


check(
    "The endpoint agrees with Spark to 1e-9, and refuses a wrong key",
    lambda: parity() < 1e-9 and call(sample[:1], {"Authorization": "Bearer wrong"}).status_code == 401,
    saw=lambda: f"largest difference {parity():.1e} in {len(sample)} loans",
    hint=[
        "Look at the differences: they must be below 1e-9.",
        "Usually the endpoint serves an older model than the one of the sample: "
        "`deployed['version']` in a cell shows the version that was pushed last.",
        "Run the cells that begin `deployed = json` and `answers = call` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Miss a failed child
#
# A scheduler that watches only the first job of a chain misses failures of the others. You run a parent
# that succeeds with a child that fails, and compare the state of the run with the states in its tree.

# %%
ask("PUT", f"{files}/fine.py", data=b"print('all is well')\n")
ask("PUT", f"{files}/late.py", data=b"raise SystemExit('the file of the risk team is missing')\n")
fine = job_of("fine", memory=0.25)
late = job_of("late", memory=0.25, parent_job_id=fine)
odd = ask("POST", f"{jobs}/{fine}/runs", {})["id"]


def pair() -> list[str]:
    newest = max(ask("GET", f"{jobs}/{fine}/runs?page_size=100")["job_runs"], key=lambda one: one["created_at"])
    return [one["status"] for one in runs_in(tree_of(fine, newest["id"]))]


wait("parent and child", pair, until=lambda seen: len(seen) == 2 and not set(seen) & OPEN, deadline=120, every=0.5)
print("the run alone:", ask("GET", f"{jobs}/{fine}/runs/{odd}")["status"], "| its tree:", pair())

# %%
check(
    "The parent succeeded, the child failed, and only the tree shows both",
    lambda: pair() == [GOOD, "ENGINE_FAILED"],
    saw=lambda: " → ".join(pair()),
    hint=[
        "Look at the two states: succeeded, then failed.",
        "Usually the child has not ended yet: run `pair()` in a cell a second later.",
        "Run the cell that begins `ask(\"PUT\", f\"{files}/fine.py\"` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **The run stays `ENGINE_SCHEDULING`**: the tenant has too few resources for another pod.
#   `kubectl describe pod` shows which one.
# - **`The job has an active run`**: a job has one active run at a time. Wait for it, or stop it with
#   `POST …:stop`.
# - **`TABLE_OR_VIEW_NOT_FOUND` in the log of train**: each user has a warehouse, and the job uses
#   another one. `EZMERAL_USER` in its environment must be your user name.

# %% [markdown]
# ## Exercise
#
# Which loan of the sample has the highest probability of a charge-off at the endpoint? Store its
# `loan_id` in `riskiest`; use the endpoint's answers, not Spark's.
#
# Hint: `answers["chances"]` and `sample` have the same order.

# %% tags=["exercise"]
# stub: riskiest = None
# solution
riskiest = max(zip(answers["chances"], sample, strict=True), key=lambda pair: pair[0])[1]["loan_id"]
# end of solution
print(riskiest, f"{max(answers['chances']):.1%}")

# %% [markdown]
# ## Recap
#
# - Your **workbench** accepts requests with a key, and no others.
# - Four **jobs** ran one after the other, each in a pod, and published facts.
# - The **endpoint** agreed with Spark, and needs no Java.
# - The **tree** showed the failed child; the state of the parent did not.
#
# More: [Jobs in Kubernetes](https://kubernetes.io/docs/concepts/workloads/controllers/job/),
# [Cloudera's jobs and pipelines](https://docs.cloudera.com/cdsw/1.9.0/jobs-pipelines/index.html).
#
# Next: Apache Airflow, which schedules such chains and reacts to failures.

# %%
quiz(
    "The first of four chained jobs is `ENGINE_SUCCEEDED`. What do you know about the chain?",
    ["It succeeded", "Nothing about the other three", "The second job succeeded, too"],
    right=1,
    because="Each run has its own state; only the tree has all of them.",
)
quiz(
    "What is a `run_key` for?",
    ["It encrypts the run", "It orders the runs", "A repeated request returns the run that exists"],
    right=2,
    because="After a lost response you do not know whether the run started; with a key you can repeat the request.",
)
quiz(
    "Why does `push` compare digests before it deploys?",
    ["To deploy only a model that changed", "The digest is the version", "To check the key"],
    right=0,
    because="Customers see a new version only if the model differs.",
)

# %% [markdown]
# ## Clean up
#
# The workbench, the project and the endpoint stay: the next labs need them. The two jobs of the last
# step are deleted.

# %%
if finished:
    for job in (late, fine):
        ask("DELETE", f"{jobs}/{job}")
print("kept:", bench, "with the project", project_name, "and its endpoint, version", deployed["version"])
