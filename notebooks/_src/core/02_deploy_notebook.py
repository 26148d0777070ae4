# %% [markdown]
# # Lab core-02: Deploy a notebook
#
# Describe a notebook server in a manifest, hand it to KubeDirector, and watch it come up.

# %% [markdown]
# ## What you will build
#
# - A **Secret** that lets your notebook talk to the cluster as you.
# - A **kdcluster**: a Jupyter server of your own, connected to the training cluster you share.
# - A refusal, on purpose: a manifest with a wrong role name, stopped before it costs anything.
#
# ![A manifest goes to KubeDirector, which makes a StatefulSet, a pod and services; the gateway
# gives the pod's port an address.](../../Pictures/core-02-deploy-notebook.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-01 | Your session and kubeconfig | `kubectl config current-context` |
# | The `jupyter-notebook` app | It is what you deploy | `kubectl get kdapp` |
# | The shared training cluster | Your notebook connects to it | `kubectl get kdcluster` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
app: str = "jupyter-notebook"  # what to deploy, from the catalogue
training_cluster: str = "training-engine-shared"  # the shared cluster to connect to
cpu: str = "250m"  # a quarter of a processor
memory: str = "768Mi"  # what the notebook server may use

# %% [markdown]
# ## Setup

# %%
import json

import requests
import yaml
from kubernetes import client

from labhelpers.check import begin, check
from labhelpers.cleanup import labels, remove
from labhelpers.cluster import KUBEDIRECTOR, apply, connect, endpoints, wait_configured
from labhelpers.quiz import quiz
from labhelpers.settings import password, settings
from labhelpers.show import table
from labhelpers.wait import wait

begin("core/02")
place, k8s = settings(), connect()
name = f"jupyter-notebook-{place.user}"
secret_name = f"kc-secret-{place.user}"
print(f"{place.user} works in namespace {k8s.namespace}")

# %% [markdown]
# ## 1. Read the catalogue
#
# **KubeDirector** runs applications that need more than a bare container: several roles, a start
# script, connections to others. An application is described once, as a **KubeDirectorApp**, by
# whoever knows it; you order it by name. Both are ordinary Kubernetes objects, of kinds that the
# cluster was taught.

# %%
where = {**KUBEDIRECTOR, "namespace": k8s.namespace}


def catalogue() -> list[dict]:
    return k8s.custom.list_namespaced_custom_object(plural="kubedirectorapps", **where)["items"]


table(
    [[item["metadata"]["name"], item["spec"]["label"]["name"],
      ", ".join(role["id"] for role in item["spec"]["roles"])] for item in catalogue()],
    columns=["name", "what it is", "roles"],
)

# %% [markdown]
# ```bash
# kubectl get kdapp
# kubectl get kdcluster training-engine-shared
# ```
#
# One cluster exists already: the training engine that your whole tenant shares. Your notebook will
# be **connected** to it, so that it can send work there.

# %%
check(
    "The catalogue has your app, and the shared training cluster is well",
    lambda: app in [item["metadata"]["name"] for item in catalogue()]
    and wait_configured(k8s, training_cluster)["status"]["state"] == "configured",
    saw=lambda: f"{app}, one of {len(catalogue())} apps, and {training_cluster}",
    hint=[
        "Look at the first column of the table: is your app in it, spelled as in the parameters?",
        "Usually `app` or `training_cluster` is misspelled, or the kubeconfig is of another tenant: "
        "`kubectl get kdapp,kdcluster` in a terminal lists what your namespace has.",
        'Type `app, training_cluster = "jupyter-notebook", "training-engine-shared"` in a cell, then '
        "run this one again. If they are not in the list, your instructor can add them.",
    ],
)

# %% [markdown]
# ## 2. Keep your key in a Secret
#
# Your notebook will run as a program of its own, far from your home folder. It needs a kubeconfig
# to speak for you. A **Secret** holds small confidential things; its values travel in base64,
# which is an encoding and hides nothing. What protects a Secret is who may read it.
#
# KubeDirector finds the Secret by its **label**: without `secretType` it is ignored in silence.

# %%
secret = client.V1Secret(
    metadata=client.V1ObjectMeta(
        name=secret_name,
        labels=labels("core/02")
        | {
            "kubedirector.hpe.com/secretType": "kubeconfig",
            "kubedirector.hpe.com/username": place.user,
        },
    ),
    string_data={"config": place.kubeconfig.read_text("utf-8")},
)
try:
    k8s.core.create_namespaced_secret(k8s.namespace, secret)
except client.ApiException as error:
    if error.status != 409:  # 409: it is there from an earlier run
        raise
    k8s.core.patch_namespaced_secret(secret_name, k8s.namespace, secret)

# %% [markdown]
# ```bash
# kubectl get secret --selector kubedirector.hpe.com/secretType=kubeconfig --show-labels
# ```

# %%
check(
    "The Secret is there and labelled for KubeDirector",
    lambda: k8s.core.read_namespaced_secret(secret_name, k8s.namespace).metadata.labels[
        "kubedirector.hpe.com/secretType"
    ] == "kubeconfig",
    saw=lambda: f"{secret_name}, with the key "
    + ", ".join(k8s.core.read_namespaced_secret(secret_name, k8s.namespace).data),
    hint=[
        f"Look whether the Secret {secret_name} is there, and which labels it carries.",
        "Usually it was not made, or made without the label `secretType`, so that KubeDirector "
        "ignores it: `kubectl get secret --show-labels` in a terminal shows both.",
        "Run the cell that begins `secret = client.V1Secret(` again: it makes the Secret or mends it.",
    ],
)

# %% [markdown]
# ## 3. Write the manifest
#
# A **manifest** says what you want, not how to get there. Read it from the top: which app, from
# which catalogue, what it is connected to, and one entry for each role with the members and the
# resources each of them gets. `requests` is what is set aside for it, `limits` where it is stopped.

# %%
manifest = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": name, "labels": labels("core/02")},
    "spec": {
        "app": app,
        "appCatalog": "local",
        "namingScheme": "CrNameRole",
        "connections": {
            "clusters": [training_cluster],
            "secrets": [secret_name, "hpecp-ext-auth-secret"],  # the second one checks passwords
        },
    },
}

# %%
size = {"cpu": cpu, "memory": memory}
manifest["spec"]["roles"] = [
    {
        "id": "controller",
        "members": 1,
        "serviceAccountName": "ecp-tenant-member-sa",
        "resources": {"requests": dict(size), "limits": dict(size)},
    }
]
print(yaml.safe_dump(manifest["spec"], sort_keys=False))

# %% [markdown]
# | Field | Meaning |
# |---|---|
# | `app`, `appCatalog` | the application, from your tenant's (`local`) or everybody's (`system`) catalogue |
# | `namingScheme: CrNameRole` | objects are named after the cluster and the role, so you recognise them |
# | `connections` | what the members are told about: clusters, ConfigMaps, Secrets, all of your namespace |
# | `roles[].id` | must be a role of the app; the next cell shows what happens otherwise |
#
# Before you order it, order something wrong. An **admission webhook** is a program that reads every
# manifest before it is stored. You ask for a *dry run*: the cluster judges the manifest as ever, and
# stores nothing, whatever the verdict.

# %%
wrong = json.loads(json.dumps(manifest))
wrong["metadata"]["name"] = f"wrong-{place.user}"
wrong["spec"]["roles"][0]["id"] = "notebook"


def order_wrong() -> str:
    make = k8s.custom.create_namespaced_custom_object
    try:
        make(plural="kubedirectorclusters", body=wrong, dry_run="All", **where)
    except client.ApiException as error:
        return json.loads(error.body)["message"]
    return "it was accepted"


print(order_wrong())

# %%
check(
    "The wrong role is refused, and the refusal names the right one",
    lambda: 'Valid roles: "controller"' in order_wrong(),
    saw=order_wrong,
    hint=[
        "Read the refusal: what does it say is wrong, and does it list the valid roles?",
        "Usually the manifest is wrong in another place, or not at all: `print(wrong)` in a cell "
        "shows it. If a role `notebook` is accepted, KubeDirector does not run: `labsandbox doctor`.",
        "Run the cell that begins `wrong = json.loads(` again: it sends a wrong role and nothing else.",
    ],
)

# %% [markdown]
# ## 4. Deploy it and watch
#
# Apply the right one. KubeDirector makes the objects, waits for the pod, copies its description
# into it, runs the app's start script, and says `configured` when that has ended well. You watch
# the state instead of guessing.

# %%
apply(k8s, "kubedirectorclusters", manifest)
cluster = wait_configured(k8s, name)

# %% [markdown]
# ```bash
# kubectl get kdcluster
# kubectl describe kdcluster "jupyter-notebook-$EZMERAL_USER" | tail -n 12
# ```
#
# `kubectl describe` ends with the **events**: what KubeDirector did, in its own words.

# %%
events = k8s.core.list_namespaced_event(
    k8s.namespace, field_selector=f"involvedObject.name={name}"
).items
events.sort(key=lambda event: event.last_timestamp)
table([[event.reason, event.message] for event in events[-12:]], columns=["reason", "what happened"])

# %%
def state() -> str:
    found = k8s.custom.get_namespaced_custom_object(plural="kubedirectorclusters", name=name, **where)
    return found["status"]["state"]


check(
    "Your notebook is configured and no member is in trouble",
    lambda: wait_configured(k8s, name) and state() == "configured",
    saw=state,
    hint=[
        "Look at the last events above: they name the member and what it waits for.",
        f"Usually there is no room for the pod, or its start script failed: `kubectl get kdcluster "
        f"{name}` in a terminal says in the column PROBLEM which of the two.",
        "Run the cell that begins `apply(k8s` again: it orders what is missing. Without room, put "
        "less into `cpu` and `memory` first, and run from step 3 on.",
    ],
)

# %% [markdown]
# ## 5. Find what was made
#
# Everything KubeDirector makes carries the label of its kdcluster. A label is how you find the
# pieces of a whole, and how you will remove them.

# %%
selector = f"kubedirector.hpe.com/kdcluster={name}"
found = {
    "StatefulSet": k8s.apps.list_namespaced_stateful_set(k8s.namespace, label_selector=selector),
    "Pod": k8s.core.list_namespaced_pod(k8s.namespace, label_selector=selector),
    "Service": k8s.core.list_namespaced_service(k8s.namespace, label_selector=selector),
}
table(
    [[kind, item.metadata.name] for kind, listed in found.items() for item in listed.items],
    columns=["kind", "name"],
)

# %% [markdown]
# ```bash
# kubectl get pod,service,statefulset -l "kubedirector.hpe.com/kdcluster=jupyter-notebook-$EZMERAL_USER"
# ```
#
# One StatefulSet per role, one pod per member, one service per member, and one service without an
# address of its own (**headless**) that gives each pod a name.

# %%
def phases() -> list[str]:
    pods = k8s.core.list_namespaced_pod(k8s.namespace, label_selector=selector).items
    return [pod.status.phase for pod in pods]


check(
    "The pod runs",
    lambda: phases() == ["Running"],
    saw=phases,
    hint=[
        "Look at what was found: Pending is a pod that waits, an empty list means no pod at all.",
        "Usually it is being replaced, or waits for room: `kubectl describe pod -l "
        f"{selector}` in a terminal ends with the reason.",
        "Run the cell that begins `apply(k8s` again, which waits until the pod is well, then this one.",
    ],
)

# %% [markdown]
# ## 6. Open your notebook
#
# Pods have addresses that only the cluster knows. The **gateway** gives each port of a service an
# address outside, with TLS, and writes it on the service as an annotation.
#
# ```bash
# kubectl get service -l "kubedirector.hpe.com/kdcluster=jupyter-notebook-$EZMERAL_USER,kubedirector.hpe.com/role=controller" \
#   -o jsonpath='{.items[0].metadata.annotations.hpecp-internal-gateway/8000}'
# ```

# %%
def ask_jupyter() -> requests.Response:
    return requests.get(f"{address}/api", verify=str(place.ca), timeout=10)


address = wait("a gateway address", lambda: endpoints(k8s, name, "controller").get(8000))
answer = wait("Jupyter to answer", ask_jupyter, until=lambda answer: answer.ok)
print(f"Jupyter server {answer.json()['version']} answers at {address}")

# %% [markdown]
# Click the address, or open it in another browser tab, and sign in with your own password: the
# notebook asks the platform, through the second Secret of the manifest, whether it is right. Your
# browser does not know the platform's certificate and warns you. On your own laptop you may go on;
# on a shared platform, ask for its certificate instead.
#
# A program signs in as a browser does: it fetches the page with the form, and sends the form back.

# %%
browser = requests.Session()
browser.verify, browser.trust_env = str(place.ca), False
browser.get(f"{address}/login", timeout=30)
form = {"_xsrf": browser.cookies["_xsrf"], "password": password(place.user)}
browser.post(f"{address}/login", data=form, timeout=30)


def files() -> list[str]:
    listed = browser.get(f"{address}/api/contents", timeout=30).json()
    return [item["name"] for item in listed.get("content", [])]


print("In your new notebook:", ", ".join(files()))

# %% [markdown]
# `project_repo` is the project repository, the folder that all pods of your tenant share. Its files
# are the same here and there: that is how work moves from this Jupyter to the new one, without
# download and upload.

# %%
check(
    "Your own Jupyter lets you in through the gateway, and has the project repository",
    lambda: ask_jupyter().ok and "project_repo" in files(),
    saw=lambda: f"HTTP {ask_jupyter().status_code}; {', '.join(files()) or 'no file'}",
    hint=[
        "Look at what was found: 502 or 503 means that nobody answers behind the gateway; 200 and no "
        "file, that Jupyter answers and did not let you in.",
        "Usually the pod is new and has another address, or the password was mistyped: "
        f"`kubectl get kdcluster {name}` in a terminal must say configured.",
        "Run the cells that begin `apply(k8s`, `def ask_jupyter` and `browser =` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Invalid role(…) in app(…)`**: the role's `id` is not one of the app's. The message lists the
#   valid ones; `kubectl get kdapp -o yaml` shows them too.
# - **The state stays at `creating`**: the pod waits for room. `kubectl describe pod` says
#   `Insufficient cpu` or `memory`; delete a cluster you no longer need, or ask for less.
# - **`Expected port 8000 … to be free`**, after a long wait: another program of your laptop listens on
#   all addresses. The message names the command that finds it; stop it, and run the cell again.
# - **`Your session is over`**: run the line the message names, then the cell again.

# %% [markdown]
# ## Exercise
#
# Give your kdcluster a label `team` with a value of your choice, by patching it, and show that its
# state stays `configured`: labels are free, only the `spec` is judged. Store the label in `team`.
#
# Hint: `k8s.custom.patch_namespaced_custom_object`, with a body that holds only the change.

# %% tags=["exercise"]
# stub: team = None
# solution
patched = k8s.custom.patch_namespaced_custom_object(
    plural="kubedirectorclusters",
    name=name,
    body={"metadata": {"labels": {"team": "taxi"}}},
    **where,
)
team = patched["metadata"]["labels"]["team"]
# end of solution
print(team)

# %% [markdown]
# ## Recap
#
# - A **Secret** with the right label carries your key to your notebook.
# - Your **kdcluster** is configured, and you know every object that belongs to it.
# - A wrong manifest was **refused** before anything was made, with the valid names in the answer.
#
# Next: fill the data lake and build the lakehouse.

# %%
quiz(
    "What does a manifest describe?",
    ["The commands to run", "The state you want", "The state there is"],
    right=1,
    because="The operator compares it with what there is, and acts until both agree.",
)
quiz(
    "What happens to a connected Secret without the secretType label?",
    ["It is refused", "It is ignored in silence", "It is printed in the log"],
    right=1,
    because="KubeDirector finds connected objects by that label and passes over the others.",
)
quiz(
    "Why does the gateway exist?",
    ["To make pods faster", "Pod addresses are known only inside the cluster", "To store files"],
    right=1,
    because="It gives a service port an address outside, and ends the TLS connection there.",
)

# %% [markdown]
# ## Clean up
#
# The later labs use your notebook, so it stays. When you are done with the workshop, set `finished`
# and run this cell; it removes what carries this lab's label, and is safe to run twice.

# %%
finished = False
print(remove(k8s, "core/02") if finished else f"Kept for the next labs: {name}, {secret_name}.")
