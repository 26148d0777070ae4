# %% [markdown]
# # Lab core-05: Register
#
# Give your model a name, a version and a past that can be looked up, and connect an engine to it.

# %% [markdown]
# ## What you will build
#
# - A **model ConfigMap**: name, version, files, and the data, code and numbers it came from.
# - A **deployment engine** of your own, connected to that ConfigMap and serving the model.
# - A broken registration, on purpose: the engine says why and goes on serving.
#
# ![A model file and its card become a ConfigMap; the deployment engine is connected to the ConfigMap
# and loads the model from the project repository.](../../Pictures/core-05-register.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-04 | The trained model and its card | `ls $PROJECT_REPO/models/$EZMERAL_USER` |
# | The `deployment-engine` app | It serves models | `kubectl get kdapp deployment-engine` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
model_name: str = "ride-duration"  # the name callers use
model_version: str = "1"  # tells this model from the next one
workers: int = 1  # members of the role that answers predictions

# %% [markdown]
# ## Setup

# %%
import hashlib
import json
from datetime import UTC, datetime

from labhelpers.check import begin, check
from labhelpers.cleanup import labels, remove
from labhelpers.cluster import apply, apply_config_map, caller, connect
from labhelpers.cluster import served, wait_configured, wait_served
from labhelpers.prerequisite import file_of
from labhelpers.quiz import quiz
from labhelpers.settings import settings
from labhelpers.show import table
from labhelpers.wait import wait

begin("core/05")
place, k8s = settings(), connect()
models = place.project_repo / "models" / place.user
code = place.project_repo / "code" / place.user
engine = f"inference-server-{place.user}"
config_name = f"model-{place.user}-{model_version}"

# %% [markdown]
# ## 1. Read the model's card
#
# Lab core-04 left two files: the model, and a **card** that says how it came to be. A model without
# a card is a number machine that nobody can question.

# %%
def read_card() -> dict:
    return json.loads(card_file.read_text("utf-8"))


card_file = file_of("core-04", models / f"{model_name}-{model_version}.json")
card = read_card()
table([[key, card[key]] for key in ("table", "table_version", "rows", "mae", "baseline_mae")],
      columns=["card", "value"])

# %% [markdown]
# Read the card as a reviewer would. `baseline_mae` is what a rule of thumb gives: distance divided by
# the average speed. `mae` is what the model gives on rides it has never seen. The difference between
# the two is the whole value of the model; if it were small, the honest thing would be to register
# nothing and to serve the rule of thumb. `table_version` is the commit of the trips table that the
# training read, so the same rows can be read again whenever somebody doubts the numbers.

# %%
check(
    "The model beats its baseline, says its card, and its file is there",
    lambda: read_card()["mae"] < read_card()["baseline_mae"] and (models / card["file"]).is_file(),
    saw=lambda: f"{read_card()['mae']:.0f} s against {read_card()['baseline_mae']:.0f} s; "
    f"{card['file']} {'is' if (models / card['file']).is_file() else 'is not'} there",
    hint=[
        f"Look at two files in the folder models of the project repository: {card_file.name}, {card['file']}.",
        f"Usually one of them was moved or deleted: `ls -l {models}` in a terminal must show both, "
        "written in the same moment.",
        "Run lab core-04 again to its end, which writes both, then run the cell that begins "
        "`def read_card(`.",
    ],
)

# %% [markdown]
# ## 2. Write the scoring script
#
# The deployment engine needs two functions: `load`, called once, and `predict`, called with many
# rows at a time. What turns a ride into the model's columns stands here, beside the model, and
# nowhere else: the same transformation at training and at serving is what keeps them honest.
#
# Lab core-04 saved scaling and model as one **pipeline**, so the script is short.

# %%
script = f'''
"""Score taxi rides; the engine calls load once and predict with every batch."""
import pandas
import skops.io

FEATURES = {card["features"]!r}


def load(path):
    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


def predict(model, rows):
    return model.predict(pandas.DataFrame(rows, columns=FEATURES)).tolist()
'''
script_file = code / "score_rides.py"
script_file.parent.mkdir(parents=True, exist_ok=True)
written = script_file.write_text(script.lstrip(), "utf-8")

# %% [markdown]
# Notice what the script does not contain: no scaling, no list of months, no path. The scaler sits
# inside the pipeline, the order of the features comes from the card, and the engine passes the path.
# A script that repeats none of these can get none of them wrong.
#
# `predict` receives a list of rows and returns a list of numbers. The engine collects requests that
# arrive at the same moment and hands them over together: one call for many callers is much cheaper
# than many calls, and each caller still gets the answer to its own rows.

# %%
def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


check(
    "The scoring script is in the project repository",
    lambda: all(f"def {name}(" in script_file.read_text("utf-8") for name in ("load", "predict")),
    saw=lambda: f"{script_file.name}, sha256 {digest(script_file)}",
    hint=[
        f"Look at the file {script_file.name} in the folder code of the project repository.",
        "Usually it was not written, or it lost one of the two functions `load` and `predict`: "
        f"`cat {script_file}` in a terminal shows what the engine would read.",
        "Run the cell that begins `script = f` again: it writes the file.",
    ],
)

# %% [markdown]
# ## 3. Register the model
#
# The **registry** is a ConfigMap per model version. The engine reads the keys `name`,
# `model-version`, `path` and `scoring-path`; the others are for people who ask later which data
# made which model. A **digest** is a fingerprint of a file: one changed byte changes it.

# %%
repository = "repo://project_repo"
lineage = {
    "table": card["table"],
    "table-version": str(card["table_version"]),
    "model-digest": digest(models / card["file"]),
    "code-digest": digest(script_file),
    "mae-seconds": f"{card['mae']:.1f}",
    "trained-by": place.user,
    "trained-at": card["trained_at"],
    "registered-at": datetime.now(UTC).isoformat(timespec="seconds"),
}

# %%
model = {
    "name": model_name,
    "model-version": model_version,
    "description": "Seconds a taxi ride in New York takes",
    "modelType": "kubedirector",
    "path": f"{repository}/models/{place.user}/{card['file']}",
    "scoring-path": f"{repository}/code/{place.user}/score_rides.py",
    "features": json.dumps(card["features"]),
} | lineage
marks = labels("core/05") | {"kubedirector.hpe.com/cmType": "model"}
apply_config_map(k8s, config_name, model, marks)

# %% [markdown]
# | Key | Who reads it |
# |---|---|
# | `name`, `model-version` | the engine: they become the address `/name/version/predict` |
# | `path`, `scoring-path` | the engine: where the files lie; `repo://project_repo` is the tenant's project repository |
# | `features` | the engine: it refuses a row in which one of them is missing |
# | `table`, `table-version`, the digests | people and audits: which data and which code made this model |
# | `mae-seconds`, `trained-by`, `trained-at` | people: how good it was, who made it, and when |
#
# A ConfigMap is small, versioned by the cluster and guarded by the tenant's rights, and everybody who
# has a kubeconfig can list it. That is most of what a model registry must do.

# %% [markdown]
# ```bash
# kubectl get configmap -l kubedirector.hpe.com/cmType=model \
#   -o custom-columns='NAME:.data.name,VERSION:.data.model-version,TABLE:.data.table-version'
# ```

# %%
check(
    "The registry names the model, its data and its code",
    lambda: set(lineage) <= set(k8s.core.read_namespaced_config_map(config_name, k8s.namespace).data),
    saw=lambda: ", ".join(
        f"{key}={value}"
        for key, value in k8s.core.read_namespaced_config_map(config_name, k8s.namespace).data.items()
        if key in ("model-version", "table-version", "code-digest")
    ),
    hint=[
        f"Look at the ConfigMap {config_name}: is it there, and which keys does it have?",
        "Usually it was not applied, or a key was left out: "
        f"`kubectl describe configmap {config_name}` in a terminal lists what it holds.",
        "Run the cells that begin `repository =` and `model = {` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Connect an engine
#
# The deployment engine has two roles: **RESTServer** workers that hold the models, and a
# **LoadBalancer** in front of them. You connect it to the ConfigMap by name; it reads what it
# needs from there, and hears of every later change.

# %%
def role(name: str, members: int, **size: str) -> dict:
    resources = {"requests": size, "limits": size}
    account = "ecp-tenant-member-sa"  # lets a worker report a model that does not load
    return {"id": name, "members": members, "serviceAccountName": account, "resources": resources}


# %%
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": engine, "labels": labels("core/05")},
    "spec": {
        "app": "deployment-engine",
        "appCatalog": "local",
        "namingScheme": "CrNameRole",
        "connections": {"configmaps": [config_name], "secrets": ["hpecp-ext-auth-secret"]},
        "roles": [
            role("LoadBalancer", 1, cpu="100m", memory="256Mi"),
            role("RESTServer", workers, cpu="250m", memory="1Gi"),
        ],
    },
}

# %%
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, engine)

# %% [markdown]
# The cluster becomes `configured` when every member has run its start script with success. Members
# start side by side, so two take no longer than one. The column *READY* of `kubectl get kdcluster`
# counts those that are well, and *PROBLEM* says in words what the first one lacks.

# %% [markdown]
# ```bash
# kubectl get kdcluster "inference-server-$EZMERAL_USER"
# kubectl get pod -l "kubedirector.hpe.com/kdcluster=inference-server-$EZMERAL_USER"
# ```

# %%
http, address = caller(k8s, engine, "LoadBalancer", 32700)


# %% [markdown]
# `GET /models` is the engine's own account: one line for each ConfigMap it is connected to, with the
# state of the model and, if it could not be loaded, the reason. It asks for the same token as the
# predictions do, because names of models are nobody else's business.

# %%
check(
    "The engine serves your model",
    lambda: wait_served(http, address, f"{model_name}/{model_version}"),
    saw=lambda: ", ".join(served(http, address)),
    hint=[
        "Look at what `GET /models` says, the engine's own account: is your model in it, and why not?",
        "Usually the ConfigMap has no label `cmType`, or is not among the connections: `kubectl get "
        f"configmap {config_name} --show-labels` and `kubectl describe kdcluster {engine}` show both.",
        "Run the cells that begin `model = {`, `manifest = {`, `apply(k8s` and `http, address` again.",
    ],
)

# %% [markdown]
# ## 5. Break a registration on purpose
#
# Sooner or later a ConfigMap names a file that is not there. Point yours at nothing and watch: the
# engine keeps the model that is loaded, and says what is wrong with the one it was told to load.

# %%
def complaint() -> str:
    return served(http, address)[f"{model_name}/{model_version}"].get("error", "")


broken = model | {"path": f"{repository}/models/{place.user}/nowhere.skops"}
apply_config_map(k8s, config_name, broken, marks)
print(wait("the engine to notice", complaint))

# %% [markdown]
# Read the complaint: it names the ConfigMap, the key, the path that was expected, and what lies in
# that folder instead. The engine tried to load the successor beside the model that was serving,
# failed, and threw only the attempt away. Ask for a prediction now, while the registration is broken.

# %%
def ask():
    url = f"{address}/{model_name}/{model_version}/predict"
    body = {"use_scoring": True, "scoring_args": dict.fromkeys(card["features"], 1)}
    return http.post(url, json=body, timeout=10)


# %%
check(
    "The old model answers while the new registration is broken",
    lambda: ask().status_code == 200 and "nowhere" in complaint(),
    saw=lambda: f"HTTP {ask().status_code}, and the complaint: {complaint() or 'none'}",
    hint=[
        "Look at two things: the status must be 200, and the engine must complain at the same time.",
        "No complaint usually means that the ConfigMap is mended already: `kubectl describe configmap "
        f"{config_name}` in a terminal shows the path it names now.",
        "Run the cell that begins `def complaint(` again: it breaks the registration, and waits until "
        "the engine has noticed.",
    ],
)

# %% [markdown]
# Mend it, and wait until the engine has nothing to complain of.

# %%
apply_config_map(k8s, config_name, model, marks)
wait("the engine to be content", complaint, until=lambda said: not said);

# %% [markdown]
# ## If it does not work
#
# - **`expected a file at …; found none`**: the path in the ConfigMap and the file in the project
#   repository differ. Copy the name from `ls`, do not type it.
# - **The engine stays at `creating`**: there is no room. Ask for fewer `workers`, or delete a
#   kdcluster you no longer need.
# - **The ConfigMap is there and nothing happens**: the label `cmType: model` is missing. Without it
#   KubeDirector passes the ConfigMap over in silence.

# %% [markdown]
# ## Exercise
#
# Ask the registry a question: list every registered model with its table version and its error, the
# smallest error first. Store the rows in `ranking`.
#
# Hint: `list_namespaced_config_map` takes a `label_selector`.

# %% tags=["exercise"]
# stub: ranking = []
# solution
registered = k8s.core.list_namespaced_config_map(
    k8s.namespace, label_selector="kubedirector.hpe.com/cmType=model"
).items
ranking = sorted(
    (float(one.data["mae-seconds"]), one.data["model-version"], one.data["table-version"])
    for one in registered
    if "mae-seconds" in one.data
)
# end of solution
print(ranking)

# %% [markdown]
# ## Recap
#
# - The **registry** holds your model's name, version, files and past.
# - Your **engine** is connected to it and serves the model.
# - A **broken registration** harmed nobody who was asking for predictions.
#
# Next: ask the service for predictions, many at a time.

# %%
quiz(
    "Why do name and version both matter?",
    ["For sorting", "Callers choose a model by both, old and new side by side", "They do not"],
    right=1,
    because="Two models under one name and one version cannot be told apart, or rolled back.",
)
quiz(
    "What tells you which data made the model?",
    ["The file's date", "The table version in the registry", "The model's size"],
    right=1,
    because="A table version is a commit that can be read again; a date is a hint.",
)
quiz(
    "How does the engine learn that the ConfigMap has changed?",
    ["It is restarted", "KubeDirector tells the running pods", "You log in and tell it"],
    right=1,
    because="The start script is called with --reconnect; the pods go on running.",
)

# %% [markdown]
# ## Clean up
#
# The next labs ask this engine for predictions, so it stays. Set `finished` to remove what carries
# this lab's label; running it twice is safe.

# %%
finished = False
print(remove(k8s, "core/05") if finished else f"Kept for the next labs: {engine}, {config_name}.")
