# %% [markdown]
# # Lab mlflow-03: Models and flavours
#
# Learn what a logged model contains, what its signature checks, and which model files are safe to load.

# %% [markdown]
# ## What you will build
#
# - A logged **model**, read line by line, and a table of what its **signature** accepts.
# - One model in four **flavours**, trained by one tool and loaded by another, equal to a millionth.
# - A model of your own code with a **parameter** that callers may set.
# - A hostile **pickle**, and the proof that its code did not run.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlflow-01 | Your tracking server | `kubectl get kdcluster` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
experiment: str = "wine models"  # the name that groups the runs of this lab
trees: int = 60  # of the two boosted models
seed: int = 7  # the same split at every run
finished: bool = False  # True: the clean-up removes the hostile model from the server

# %% [markdown]
# ## Setup

# %%
import os
import pickletools

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
               "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "ORT_DISABLE_TELEMETRY": "1"}
import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import skops.io
import xgboost
import yaml
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# %%
import logging
import warnings

from labhelpers import begin, check, data, fresh, quiz, settings, show, workspace
from labhelpers.cluster import caller, cluster_of, connect

begin("mlflow/03")
logging.getLogger("mlflow").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="mlflow")

# %%
place, k8s, home = settings(), connect(), fresh(workspace("mlflow-03"))
home.mkdir()
server = cluster_of("mlflow-01", k8s, f"mlflow-{place.user}")["metadata"]["name"]
tracking, tracking_address = caller(k8s, server, "controller", 5000)
os.environ |= {"MLFLOW_TRACKING_URI": tracking_address,
               "MLFLOW_TRACKING_TOKEN": tracking.headers["X-Auth-Token"],
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
mlflow.set_tracking_uri(tracking_address)

# %% [markdown]
# ## 1. Read a logged model
#
# A **flavour** is a way to load a model: `sklearn` returns the estimator, `python_function`
# (**pyfunc**) gives any model the same method `predict`. Log a linear model and read its `MLmodel` from
# the server.

# %%
wines = pd.read_csv(data.datasets() / "wine" / "wine.csv", sep=";").astype(float)
train, test = train_test_split(wines, test_size=0.25, random_state=seed)
names = wines.columns.drop("quality")
signature = infer_signature(train[names], train["quality"])
linear = make_pipeline(StandardScaler(), ElasticNet(alpha=0.01)).fit(train[names], train["quality"])
logged: dict[str, str] = {}
mlflow.set_experiment(experiment)


def log(kind: str, flavour, **model) -> None:
    with mlflow.start_run(run_name=kind):
        info = flavour.log_model(name=kind, signature=signature, pip_requirements=["mlflow"], **model)
    logged[kind] = info.model_id


log("linear", mlflow.sklearn, sk_model=linear)

# %%
def fetch(kind: str, file: str) -> bytes:
    path = f"{tracking_address}/api/2.0/mlflow/logged-models/{logged[kind]}"
    place_of = tracking.get(path, timeout=30).json()["model"]["info"]["artifact_uri"]
    folder = f"{tracking_address}/api/2.0/mlflow-artifacts/artifacts/{place_of.removeprefix('mlflow-artifacts:/')}"
    answer = tracking.get(f"{folder}/{file}", timeout=30)
    answer.raise_for_status()
    return answer.content


def mlmodel(kind: str) -> dict:
    return yaml.safe_load(fetch(kind, "MLmodel"))


print(fetch("linear", "MLmodel").decode())

# %% [markdown]
# `flavors` names the file and its format; here `skops`, which stores types and numbers, not a
# pickle. `signature` has the columns with their types. `model_id` names the model; since release 3 it has
# a folder of its own, beside the run and not in it. The file also has the
# id of the run that logged the model.

# %%
check(
    "The server has the model with two flavours, eleven columns, and no pickle",
    lambda: set(mlmodel("linear")["flavors"]) == {"sklearn", "python_function"}
    and mlmodel("linear")["flavors"]["sklearn"]["serialization_format"] == "skops"
    and mlmodel("linear")["signature"]["inputs"].count('"name"') == len(names) == 11,
    saw=lambda: f"{', '.join(mlmodel('linear')['flavors'])} in {mlmodel('linear')['flavors']['sklearn']['pickled_model']}",
    hint=[
        "Look at the text above: two entries below `flavors`, and eleven names in `inputs`.",
        "Usually the model was logged to another server: `mlflow.get_tracking_uri()` in a cell must "
        "show the address of yours.",
        "Run the cells that begin `place, k8s, home` and `wines = pd` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Test what the signature catches
#
# `pyfunc` checks each request against the signature before it calls the model. Try it with one wine,
# changed in eight ways.

# %% tags=["blank"]
row = test[names].head(1)
cases = {
    "as trained": row,
    # blank: Add the case "column missing": the row without its column `alcohol`.
    # stub: "column missing": row,
    # solution
    "column missing": row.drop(columns="alcohol"),
    # end of solution
    "text in a number column": row.assign(alcohol="strong"),
    "an extra column": row.assign(colour=1.0),
    "columns in another order": row[names[::-1]],
    "the text 12.8": row.assign(alcohol="12.8"),
    "the integer 12": row.assign(alcohol=12),
    "the integer 1": row.assign(alcohol=1),
    "a missing value": row.assign(alcohol=None),
}


# %%
def load(kind: str):
    return mlflow.pyfunc.load_model(f"models:/{logged[kind]}")


guarded = load("linear")


def outcome(case: str) -> str:
    try:
        return f"answers {float(guarded.predict(cases[case])[0]):.2f}"
    except mlflow.exceptions.MlflowException:
        return "refused by the signature"
    except ValueError:
        return "refused by the model"


show.table([[case, outcome(case)] for case in cases], columns=["the request", "what happens"])

# %% [markdown]
# Four results surprise many users. An extra column is dropped; only the log says so. Text that parses as
# a number is accepted. The integer 12 is refused, because a column of doubles takes no integers; the
# integer 1 is accepted, because zeros and ones may be meant as booleans. So tests with ones pass, and
# production fails. A missing value passes the signature and fails in the model. Requests in JSON are cast
# to the signature's types first, so the rule on integers concerns callers in Python only.

# %%
outcomes = {"as trained": "answers", "column missing": "signature", "text in a number column": "signature",
            "an extra column": "answers", "columns in another order": "answers", "the text 12.8": "answers",
            "the integer 12": "signature", "the integer 1": "answers", "a missing value": "model"}
check(
    "The signature refuses three requests, the model refuses one, and five are answered",
    lambda: "signature" in mlmodel("linear") and all(end in outcome(case) for case, end in outcomes.items()),
    saw=lambda: f"{sum('signature' in outcome(case) for case in cases)} refused by the signature, "
    f"{sum('model' in outcome(case) for case in cases)} by the model",
    hint=[
        "Look at the table: three rows end with the signature, one with the model.",
        "Usually a case is not what its name says: `cases['column missing'].columns` in a cell must "
        "have ten names.",
        "Run the cells that begin `row = test[names]` and `def load(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Save models without pickle
#
# A **pickle** is a program: loading it can run any code of its author. `skops` stores types and numbers,
# and refuses types that could be misused until you name them as trusted. Boosted trees of scikit-learn
# have such a type: a forged file could make them read memory out of bounds. Try to log one.

# %%
boosted = HistGradientBoostingRegressor(max_iter=trees, random_state=seed).fit(train[names], train["quality"])
try:
    log("boosted", mlflow.sklearn, sk_model=boosted)
except mlflow.exceptions.MlflowException as refused:
    print(str(refused)[:420], "…")

# %%
types = skops.io.get_untrusted_types(data=skops.io.dumps(boosted))
log("boosted", mlflow.sklearn, sk_model=boosted, skops_trusted_types=types)
forest = xgboost.XGBRegressor(n_estimators=trees, max_depth=4, random_state=seed)
forest.fit(train[names], train["quality"])
log("xgboost", mlflow.xgboost, xgb_model=forest)
log("onnx", mlflow.onnx, onnx_model=to_onnx(linear, train[names].to_numpy()[:1]))
show.table([[kind, ", ".join(set(mlmodel(kind)["flavors"]) - {"python_function"}),
             mlmodel(kind)["flavors"]["python_function"].get("model_path")
             or mlmodel(kind)["flavors"]["python_function"]["data"]] for kind in logged],
           columns=["model", "flavour", "file"])

# %%
def files_of(kind: str) -> str:
    return " ".join(str(value) for flavour in mlmodel(kind)["flavors"].values() for value in flavour.values())


check(
    "Four models are on the server, none of them a pickle",
    lambda: all(form in files_of(kind) for kind, form in
                [("linear", ".skops"), ("boosted", ".skops"), ("xgboost", ".ubj"), ("onnx", ".onnx")])
    and mlmodel("boosted")["flavors"]["sklearn"]["skops_trusted_types"] == types
    and not any("pkl" in files_of(kind) or "cloudpickle" in files_of(kind) for kind in logged if kind != "hostile"),
    saw=lambda: f"{', '.join(logged)}; named for skops: {types[0].rpartition('.')[2]}",
    hint=[
        "Look at the table: two files end in `skops`, one in `ubj`, one in `onnx`.",
        "Usually a flavour's library is another release than the lock's: `mlflow.doctor()` in a cell "
        "lists what is installed.",
        "Run the cells that begin `boosted = Hist` and `types = skops` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Load with another tool
#
# A model can be served without the library that trained it. Load the files without MLflow, and compare
# with `pyfunc`: the linear model with skops and with ONNX Runtime, the trees with XGBoost. So a service in
# another language needs the file and a runtime for it, not your training environment.
#
# MLflow and ONNX Runtime send usage data to their makers unless a variable says no: the setup cell says no
# to both. With a service of your own, set `ORT_DISABLE_TELEMETRY=1` before ONNX Runtime is imported.

# %% tags=["blank"]
def by_onnx(rows: pd.DataFrame) -> np.ndarray:
    session = onnxruntime.InferenceSession(fetch("onnx", "model.onnx"), providers=["CPUExecutionProvider"])
    # blank: Run the session on the rows as a matrix of float64; return the first output as one column.
    # stub: return np.zeros(len(rows))
    # solution
    return session.run(None, {session.get_inputs()[0].name: rows.to_numpy()})[0].ravel()
    # end of solution


# %%
def by_xgboost(rows: pd.DataFrame) -> np.ndarray:
    booster = xgboost.Booster()
    booster.load_model(bytearray(fetch("xgboost", "model.ubj")))
    return booster.inplace_predict(rows.to_numpy())


def by_skops(rows: pd.DataFrame) -> np.ndarray:
    return skops.io.loads(fetch("linear", "model.skops"), trusted=[]).predict(rows)


tools = {"skops": ("linear", by_skops), "ONNX runtime": ("linear", by_onnx), "XGBoost": ("xgboost", by_xgboost)}


def apart(tool: str) -> float:
    kind, predict = tools[tool]
    return float(np.abs(predict(test[names]) - load(kind).predict(test[names])).max())


show.table([[tool, tools[tool][0], f"{apart(tool):.1e}"] for tool in tools],
           columns=["loaded by", "trained as", "largest difference from pyfunc"])

# %%
check(
    "Three tools load the files, and agree with pyfunc to a millionth",
    lambda: all(apart(tool) < 1e-6 for tool in tools),
    saw=lambda: ", ".join(f"{tool} {apart(tool):.1e}" for tool in tools),
    hint=[
        "Look at the last column: three numbers below 0.000001.",
        "Usually the rows reach a tool as float32, which keeps seven digits: "
        "`test[names].to_numpy().dtype` in a cell must show `float64`.",
        "Run the cells that begin `def by_onnx(` and `def by_xgboost(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Give a model a parameter
#
# A model can be your own code. Here it decides whether a wine is *good*: above a limit that the caller
# sets. Such a model is logged as a **file of code**, which people can review, and its signature declares
# the parameter with a default.

# %%
(home / "good.py").write_text("""
import mlflow

class Good(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return (model_input["alcohol"] > params["limit"]).astype(int)

mlflow.models.set_model(Good())
""")
plain, signature = signature, infer_signature(train[names], np.array([0, 1]), params={"limit": 10.0})
try:
    log("good", mlflow.pyfunc, python_model=str(home / "good.py"))
finally:
    signature = plain

# %% tags=["blank"]
def share(limit: float | None) -> float:
    # blank: Predict with the parameter `limit`; without one when it is None.
    # stub: return float(load("good").predict(test[names]).mean())
    # solution
    params = None if limit is None else {"limit": limit}
    return float(load("good").predict(test[names], params=params).mean())
    # end of solution


shares = pd.DataFrame({"limit": [9.0, 9.5, 10.0, 10.5, 11.0, 11.5, 12.0]})
shares["good wines"] = shares["limit"].map(share)
show.lines(shares, "limit", ["good wines"], "The caller's parameter decides", unit="share of the wines")

# %% [markdown]
# A parameter that the signature does not know is dropped with a warning; one of a wrong type is refused.
# The engine of lab mlflow-04 loads no such model: it is code, and belongs into a process of its own.

# %%
check(
    "The parameter changes the answer, and its default holds without it",
    lambda: '"limit"' in str(mlmodel("good")["signature"]["params"])
    and share(None) == share(10.0) > share(11.0) == float((test["alcohol"] > 11.0).mean()),
    saw=lambda: f"{share(None):.2f} by default, {share(11.0):.2f} above 11",
    hint=[
        "Look at the curve: it falls from left to right.",
        "Usually the parameter does not reach the model: "
        "`load('good').predict(test[names], params={'limit': 99.0}).sum()` in a cell must be 0.",
        "Run the cells that begin `(home / \"good.py\")` and `def share(` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Do not load a hostile pickle
#
# Somebody offers you a model as a pickle. It predicts well, and loading it runs code of its author. A real
# attack would send your token away; this one creates a **canary** file, which shows whether it ran.

# %%
canary = home / "canary"


class Hostile:
    def __reduce__(self):
        return open, (str(canary), "w")


offered = ElasticNet(alpha=0.01).fit(train[names], train["quality"])
offered.note = Hostile()
log("hostile", mlflow.sklearn, sk_model=offered, serialization_format="cloudpickle")
operations = [str(found) for _, found, _ in pickletools.genops(fetch("hostile", "model.pkl")) if found]
print("Read without loading, the file names:", [word for word in operations if word in ("open", "io", "_io")])
load("hostile")
print("Loaded with the default setting: the canary", "is there." if canary.exists() else "is not there.")

# %% [markdown]
# The code ran, although you only loaded the model. A variable of MLflow's client refuses pickles. It then
# refuses skops, too, because MLflow reads the list of trusted types from the model itself. ONNX and
# XGBoost files contain numbers only. Note `good`: it still loads, and it *is* code, so review it first.

# %% tags=["blank"]
canary.unlink(missing_ok=True)
# blank: Set the variable MLFLOW_ALLOW_PICKLE_DESERIALIZATION so that pickles are refused.
# stub: os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
# solution
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
# end of solution


def loaded(kind: str) -> bool:
    try:
        return len(load(kind).predict(test[names])) == len(test)
    except mlflow.exceptions.MlflowException:
        return False


allowed = {kind: loaded(kind) for kind in logged}
del os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"]
show.table([[kind, "loads" if allowed[kind] else "refused"] for kind in logged], columns=["model", "when pickles are refused"])

# %%
check(
    "The hostile model is on the server and was refused: no canary",
    lambda: "cloudpickle" in files_of("hostile") and not canary.exists()
    and [kind for kind in allowed if allowed[kind]] == ["xgboost", "onnx", "good"],
    saw=lambda: f"loaded: {', '.join(kind for kind in allowed if allowed[kind])}; canary: {canary.exists()}",
    hint=[
        "Look at the table: `hostile` is refused, and three models load.",
        "Usually the variable was not set before the load, and the canary was written: "
        f"`ls {home}` in a terminal shows it.",
        "Run the cells that begin `canary = home` and `canary.unlink` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Untrusted types found in the file`**: skops does not know a type. Read what it says of the type; name
#   it in `skops_trusted_types` when you made the file yourself.
# - **`Failed to enforce schema of data`**: the request does not fit the signature. The last lines name the
#   column. An integer column of a DataFrame becomes decimal by `.astype(float)`.
# - **Logging takes 20 seconds**: MLflow imports the model once more to guess its requirements. Give
#   `pip_requirements`, as this lab does.

# %% [markdown]
# ## Exercise
#
# Which of your models has the smallest files? Store the sizes in bytes in `sizes`, by kind, from
# `model_size_bytes` of each `MLmodel`.
#
# Hint: `mlmodel(kind)` reads one from the server.

# %% tags=["exercise"]
# stub: sizes = {}
# solution
sizes = {kind: mlmodel(kind)["model_size_bytes"] for kind in logged}
# end of solution
print(sizes)

# %% [markdown]
# ## Recap
#
# - A logged **model** is a folder with a file `MLmodel`; you know what its **signature** refuses and what
#   it accepts.
# - Four **flavours** of two models gave the same numbers in three other tools.
# - A model of your own code has a **parameter**, with a default in its signature.
# - The code of a hostile **pickle** ran with the default setting, and not when pickles were refused.
#
# More: [MLflow models](https://mlflow.org/docs/latest/ml/model/),
# [signatures](https://mlflow.org/docs/latest/ml/model/signatures/),
# [why a pickle can run code](https://docs.python.org/3/library/pickle.html).
#
# Next: versions of such models pass a gate, and one of them serves.

# %%
quiz(
    "Your tests send 0 and 1 as integers and pass. Production sends 12. What happens?",
    ["It is rounded", "It is accepted", "The signature refuses it"],
    right=2,
    because="Integers of zeros and ones are accepted for a column of doubles; other integers are refused.",
)
quiz(
    "When does a hostile pickle run?",
    ["When it is loaded", "When it predicts", "When it is registered"],
    right=0,
    because="Unpickling calls what the file names; predict is never reached.",
)
quiz(
    "Which files hold numbers only?",
    ["Pickles and skops", "ONNX and XGBoost's own", "All four"],
    right=1,
    because="skops builds objects of named types, a pickle calls anything.",
)

# %% [markdown]
# ## Clean up
#
# The models stay on the server, under their experiment. Remove the hostile one, so that nobody loads it
# later. Type `finished = True` in a cell and run this one; running it twice is safe.

# %%
if finished and "hostile" in logged:
    mlflow.MlflowClient().delete_logged_model(logged.pop("hostile"))
print(f"Kept on the server: {', '.join(logged)}.")
