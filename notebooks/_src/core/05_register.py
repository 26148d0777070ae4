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
card_file = file_of("core-04", models / f"{model_name}-{model_version}.json")
card = json.loads(card_file.read_text("utf-8"))
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
    "The model beats its baseline, says its card",
    lambda: card["mae"] < card["baseline_mae"] and (models / card["file"]).is_file(),
    saw=lambda: f"{card['mae']:.0f} s against {card['baseline_mae']:.0f} s",
    hint="Run lab core-04 to its end: it writes the model and the card together.",
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
code.mkdir(parents=True, exist_ok=True)
(code / "score_rides.py").write_text(script.lstrip(), "utf-8")

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
    lambda: "def predict" in (code / "score_rides.py").read_text("utf-8"),
    saw=lambda: f"sha256 {digest(code / 'score_rides.py')}",
    hint="Run the cell above: it writes the file the engine will read.",
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
    "code-digest": digest(code / "score_rides.py"),
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
    hint="Run the cells of this step again; a 403 means that your session is of another tenant.",
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
        "`GET /models` of the engine says why a model is not loaded.",
        f"`kubectl logs -l kubedirector.hpe.com/kdcluster={engine}` shows the workers' words.",
    ],
)

# %% [markdown]
# ## 5. Break a registration on purpose
#
# Sooner or later a ConfigMap names a file that is not there. Point yours at nothing and watch: the
# engine keeps the loaded model, and says what is wrong with the new one.

# %%
broken = model | {"path": f"{repository}/models/nowhere.skops"}
apply_config_map(k8s, config_name, broken, marks)
complaint = wait(
    "the engine to notice",
    lambda: served(http, address).get(f"{model_name}/{model_version}", {}).get("error"),
)
print(complaint)

# %% [markdown]
# Read the complaint: it names the ConfigMap, the key, the path that was expected, and the command
# that lists what is there instead. The engine tried to load the successor beside the model that was
# serving, failed, and threw only the attempt away.

# %%
ride = dict.fromkeys(card["features"], 1)
answer = http.post(
    f"{address}/{model_name}/{model_version}/predict",
    json={"use_scoring": True, "scoring_args": ride},
    timeout=10,
)
apply_config_map(k8s, config_name, model, marks)
check(
    "The old model answered while the new registration was broken",
    lambda: answer.status_code == 200 and "nowhere" in complaint,
    saw=lambda: f"HTTP {answer.status_code}",
    hint="Run both cells again: the answer must come while the ConfigMap is broken.",
)

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
