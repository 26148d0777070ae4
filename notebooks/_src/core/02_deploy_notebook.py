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
# - A **git repository** with your labs: your notebook clones it, and pushes a commit back.
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
finished: bool = False  # True: the clean-up removes what only this lab needs

# %% [markdown]
# ## Setup

# %%
import json
import os
import subprocess
from pathlib import Path
from shutil import copy

import requests
import yaml
from kubernetes import client

from labhelpers import begin, check, password, quiz, settings, show, wait, workspace
from labhelpers.cluster import (
    KUBEDIRECTOR, apply, connect, endpoints, labels, remote, remove, token, wait_configured,
)
from labhelpers.errors import LabError

begin("core/02")
place, k8s = settings(), connect()
name, secret_name = f"jupyter-notebook-{place.user}", f"kc-secret-{place.user}"
print(f"{place.user} works in namespace {k8s.namespace}")

# %% [markdown]
# ## 1. Read the catalogue
#
# **KubeDirector** is an **operator**: a program that watches objects of its own kinds and makes the
# cluster match them. It runs applications that need more than a bare container: several roles, a
# start script, connections to others. A **KubeDirectorApp** describes an application once; a
# **kdcluster** (KubeDirectorCluster) orders it by name. Both are ordinary Kubernetes objects.

# %%
where = {**KUBEDIRECTOR, "namespace": k8s.namespace}


def catalogue() -> list[dict]:
    return k8s.custom.list_namespaced_custom_object(plural="kubedirectorapps", **where)["items"]


show.table(
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
def has_app() -> bool:
    return app in [item["metadata"]["name"] for item in catalogue()]


check(
    "The catalogue has your app, and the shared training cluster is well",
    lambda: has_app()
    and wait_configured(k8s, training_cluster)["status"]["state"] == "configured",
    saw=lambda: f"{len(catalogue())} apps, {app} {'is' if has_app() else 'is not'} one of them; "
    f"{training_cluster}: {wait_configured(k8s, training_cluster)['status']['state']}",
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
# Your notebook will run in a pod, without your home folder. It needs a kubeconfig to act in your name.
# A **Secret** holds small confidential values. They are encoded in base64, which hides nothing; a
# Secret is protected by who may read it.
#
# KubeDirector finds the Secret by its **label**: without `secretType` it is ignored, and no message says so.

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
# A **manifest** describes the state you want, not the steps to it. Read it from the top: which app, from
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
# | `connections` | what the members learn about: clusters, ConfigMaps and Secrets of your namespace |
# | `roles[].id` | must be a role of the app; the next cell shows what happens otherwise |
# | `serviceAccountName` | the **ServiceAccount**: the identity of the members at the API server |
#
# Before you order it, order something wrong on purpose. An **admission webhook** is a program that
# reads every manifest before it is stored, and may refuse it. You ask for a *dry run*: the cluster
# checks the manifest as usual, and stores nothing, whatever the result.

# %% tags=["blank"]
wrong = json.loads(json.dumps(manifest))
wrong["metadata"]["name"] = f"wrong-{place.user}"
# blank: Give the first role of `wrong` an id that the app does not have.
# solution
wrong["spec"]["roles"][0]["id"] = "notebook"
# end of solution
# stub: pass


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
# Apply the right one. A manifest is a file first: what is in a file can be reviewed, kept in git, and
# applied again. Write it, and apply it with this line in a terminal:
#
# ```bash
# kubectl apply -f "$PROJECT_REPO/manifests/$EZMERAL_USER/jupyter-notebook.yaml"
# ```
#
# `kubectl apply` asks the API server whether the object is there. If not, it sends a `POST` with the
# manifest; if it is, a `PATCH` with what differs. The cell below sends the same two requests from
# Python, so you may use either, or both.

# %%
file = workspace("manifests") / "jupyter-notebook.yaml"
file.write_text(yaml.safe_dump(manifest, sort_keys=False), "utf-8")

here = {**where, "plural": "kubedirectorclusters"}
try:
    k8s.custom.create_namespaced_custom_object(body=manifest, **here)
except client.ApiException as error:
    if error.status != 409:  # 409: it is there already
        raise
    k8s.custom.patch_namespaced_custom_object(name=name, body=manifest, **here)
cluster = wait_configured(k8s, name)

# %% [markdown]
# KubeDirector makes the objects, waits for the pod, copies a description of the cluster into it, runs
# the app's start script, and reports `configured` when the script has succeeded.

# %% [markdown]
# ```bash
# kubectl get kdcluster
# kubectl describe kdcluster "jupyter-notebook-$EZMERAL_USER" | tail -n 12
# ```
#
# `kubectl describe` ends with the **events**: what KubeDirector did, step by step.

# %%
events = k8s.core.list_namespaced_event(
    k8s.namespace, field_selector=f"involvedObject.name={name}"
).items
events.sort(key=lambda event: event.last_timestamp)
show.table([[event.reason, event.message] for event in events[-12:]], columns=["reason", "what happened"])

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
        "Run the cell that begins `file = workspace(` again: it orders what is missing. Without room, put "
        "less into `cpu` and `memory` first, and run from step 3 on.",
    ],
)

# %% [markdown]
# ## 5. Find what was made
#
# Everything KubeDirector makes carries the label of its kdcluster. A label is how you find the
# pieces of a whole, and how you will remove them.

# %% tags=["blank"]
# stub: selector = "kubedirector.hpe.com/kdcluster="
# blank: Select the objects whose label kubedirector.hpe.com/kdcluster has your kdcluster's name.
# solution
selector = f"kubedirector.hpe.com/kdcluster={name}"
# end of solution
found = {
    "StatefulSet": k8s.apps.list_namespaced_stateful_set(k8s.namespace, label_selector=selector),
    "Pod": k8s.core.list_namespaced_pod(k8s.namespace, label_selector=selector),
    "Service": k8s.core.list_namespaced_service(k8s.namespace, label_selector=selector),
}
show.table(
    [[kind, item.metadata.name] for kind, listed in found.items() for item in listed.items],
    columns=["kind", "name"],
)

# %% [markdown]
# ```bash
# kubectl get pod,service,statefulset -l "kubedirector.hpe.com/kdcluster=jupyter-notebook-$EZMERAL_USER"
# ```
#
# Each role has a **StatefulSet**, which keeps the number of its pods and gives them fixed names. Each
# member is one pod, with a **service**: an address that stays when the pod is replaced. One more
# service has no address of its own (**headless**); it gives each pod a name.

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
        "Run the cell that begins `file = workspace(` again, which waits until the pod is well, then this one.",
    ],
)

# %% [markdown]
# ## 6. Open your notebook
#
# Pods have addresses that only the cluster knows. The **gateway** gives each port of a service an
# address outside, with TLS, and writes it on the service as an **annotation**: a note on an object that
# programs read. Unlike a label, it cannot be selected by.
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

# %% tags=["blank"]
browser = requests.Session()
browser.verify, browser.trust_env = str(place.ca), False
browser.get(f"{address}/login", timeout=30)
# blank: Fill in the form: the field `_xsrf` from the cookie of that name, and your password.
# stub: form = {}
# solution
form = {"_xsrf": browser.cookies["_xsrf"], "password": password(place.user)}
# end of solution
browser.post(f"{address}/login", data=form, timeout=30)


def files() -> list[str]:
    listed = browser.get(f"{address}/api/contents", timeout=30).json()
    return [item["name"] for item in listed.get("content", [])]


print("In your new notebook:", ", ".join(files()))

# %% [markdown]
# `project_repo` is the **project repository**: one folder that is mounted in every pod of your tenant,
# and in no pod of another tenant. A file that you write here is in the notebook at once.
# On a real cluster that folder is a shared file system, such as NFS, behind a volume that many pods may
# mount at the same time (`ReadWriteMany`). It keeps one version of a file, the last one written.
#
# ![Files on the project repository are the same in both notebooks and in every pod of the tenant at
# once; commits travel through the git server, one version at a time.](../../Pictures/core-02-shared-work.svg)

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
        "Run the cells that begin `file = workspace(`, `def ask_jupyter` and `browser =` again, then this one.",
    ],
)

# %% [markdown]
# ## 7. Push a commit from your notebook
#
# **git** keeps every version. A server has the repository; you *clone* it, *commit* a change and *push*
# the commit back. The server is one more application of the catalogue, so you order it as you ordered
# the notebook. With a server of your company, only the address and the token below differ.

# %%
git_name, source_name = f"git-{place.user}", f"labs-of-{place.user}"
few = {"cpu": "50m", "memory": "256Mi"}
server = json.loads(json.dumps(manifest))
server["metadata"]["name"] = git_name
server["spec"] = {"app": "git-server", "appCatalog": "local", "namingScheme": "CrNameRole"}
server["spec"]["roles"] = [
    {"id": "server", "members": 1, "serviceAccountName": "ecp-tenant-member-sa",
     "resources": {"requests": few, "limits": few}}
]
apply(k8s, "kubedirectorclusters", server)
wait_configured(k8s, git_name)
origin = wait("an address for git", lambda: endpoints(k8s, git_name, "server").get(3000)) + "/labs.git"

# %% [markdown]
# The first commit comes from here: your copies of the labs. The server's token travels in a header,
# so it is in no address, no file and no output.

# %%
clone = workspace("labs") / "clone"


def git(*words: str) -> str:
    access = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.extraHeader",
              "GIT_CONFIG_VALUE_0": f"X-Auth-Token: {token(k8s, git_name, 'server')}",
              "GIT_SSL_CAINFO": str(place.ca), "no_proxy": "*"}
    who = ["-c", f"user.name={place.user}", "-c", f"user.email={place.user}@example.invalid"]
    command = ["git", "-C", str(clone), *who, *words]
    done = subprocess.run(command, env=os.environ | access, capture_output=True, text=True)
    if done.returncode:
        raise LabError(
            f"Expected `git {words[0]}` to succeed, found: {done.stderr.strip()} In a terminal, `git -C "
            f"{clone} status` shows the clone, `kubectl get kdcluster {git_name}` the server."
        )
    return done.stdout

# %% [markdown]
# The server creates the repository when you push for the first time. If it has commits already, from
# an earlier run, there is nothing to push.

# %%
if not clone.is_dir():
    clone.mkdir()
    [copy(lab, clone) for lab in Path.cwd().glob("[0-9]*.ipynb")]
    git("init", "--quiet", "--initial-branch=main")
    git("remote", "add", "origin", origin)
    git("add", ".")
    git("commit", "--quiet", "--message", "The labs")
git("remote", "set-url", "origin", origin)
try:
    git("fetch", "--quiet", "origin", "main")
except LabError:
    git("push", "--quiet", "origin", "main")
print(git("log", "--oneline", "--no-color", "origin/main"))

# %% [markdown]
# Your notebook gets the address and the token in a Secret of the type `source-control`. When you connect
# it, KubeDirector passes it to the running notebook, which clones the repository into your home.

# %%
source = {
    "repoURL": origin, "branch": "main", "username": place.user,
    "token": token(k8s, git_name, "server"), "ca.crt": place.ca.read_text("utf-8"),
}
secret.metadata.name, secret.string_data = source_name, source
secret.metadata.labels["kubedirector.hpe.com/secretType"] = "source-control"
try:
    k8s.core.create_namespaced_secret(k8s.namespace, secret)
except client.ApiException as error:
    if error.status != 409:  # 409: it is there from an earlier run
        raise
    k8s.core.patch_namespaced_secret(source_name, k8s.namespace, secret)
manifest["spec"]["connections"]["secrets"][2:] = [source_name]
apply(k8s, "kubedirectorclusters", manifest)
wait("your notebook to clone the labs", files, until=lambda found: source_name in found)

# %% [markdown]
# Now work *there*. Open `labs-of-…` in your notebook: the labs are in it, and its kernel knows the
# platform, your name and the training cluster. The commands below are what you would type in its
# terminal. Here a program sends them to a kernel of your notebook, as the page in your browser does.
#
# Lab core-04 runs there, too. It starts Spark, which needs more memory than the pod has: first put
# `memory = "3Gi"` into a cell below the parameters, and run this lab from step 3 on.

# %% tags=["blank"]
work = f"""%%bash -e
cd ~/{source_name}
git pull --quiet --rebase --autostash origin main
echo "Written in the notebook of {place.user}: $(date)" > NOTES.md
"""
# blank: Add three lines to `work`: git add, git commit with a message, git push.
# solution
work += """
git add NOTES.md
git commit --quiet --message "A note from my notebook"
git push --quiet origin main
"""
# end of solution
# stub: work += ""
next_line = f"In a terminal of your notebook, `cd {source_name} && git status` says what is missing."
print(remote.run(browser, address, work + "git log --oneline --no-color -3", advice=next_line))

# %%
def pushed() -> str:
    git("fetch", "--quiet", "origin", "main")
    return git("show", "--no-patch", "--format=%h %an: %s", "FETCH_HEAD", "--", "NOTES.md").strip()


check(
    "The git server has the commit that your notebook pushed",
    lambda: f"{place.user}:" in pushed() and place.user in git("show", "FETCH_HEAD:NOTES.md"),
    saw=lambda: pushed() or "no commit with NOTES.md",
    hint=[
        "Look at the last commit above: was it made in your notebook, and does the server have it?",
        "Usually nothing was committed, or the push was refused: open a terminal in your notebook, type "
        f"`cd {source_name}` and `git status`, which says what is missing.",
        "Run the cells that begin `git_name, source_name`, `clone =`, `if not clone`, `source = {` and "
        "`work = f` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Invalid role(…) in app(…)`**: the role's `id` is not one of the app's. The message lists the
#   valid ones; `kubectl get kdapp -o yaml` shows them too.
# - **The state stays at `creating`**: the pod waits for resources. `kubectl describe pod` says
#   `Insufficient cpu` or `memory`; delete a cluster you no longer need, or ask for less.
# - **`Expected port 8000 … to be free`**, after a long wait: another program of your laptop listens on
#   all addresses. The message names the command that finds it; stop it, and run the cell again.
# - **`Your session is over`**: run the line the message names, then the cell again.

# %% [markdown]
# ## Exercise
#
# Give your kdcluster a label `team` with a value of your choice, by patching it, and show that its
# state stays `configured`: labels may be changed freely, only the `spec` is checked. Store the label in `team`.
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
# - Your notebook **pushed** a commit to a server, and you read it here.
#
# More: [KubeDirector](https://github.com/bluek8s/kubedirector),
# [StatefulSets](https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/),
# [Secrets](https://kubernetes.io/docs/concepts/configuration/secret/).
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
    ["It is refused", "It is printed in the log", "It is ignored in silence"],
    right=2,
    because="KubeDirector finds connected objects by that label and passes over the others.",
)
quiz(
    "Why does the gateway exist?",
    ["Pod addresses are known only inside the cluster", "To make pods faster", "To store files"],
    right=0,
    because="It gives a service port an address outside, and ends the TLS connection there.",
)

# %% [markdown]
# ## Clean up
#
# The later labs use your notebook, so it stays. When you are done with the workshop, type
# `finished = True` in a cell and run this one; it removes what carries this lab's label, and is safe
# to run twice.

# %%
print(remove(k8s, "core/02") if finished else f"Kept for the next labs: {name}, {git_name}.")
