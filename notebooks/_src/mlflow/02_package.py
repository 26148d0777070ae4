# %% [markdown]
# # Lab mlflow-02: Package
#
# Package a training so that somebody else can run it later, with the same files, the same packages and no network.

# %% [markdown]
# ## What you will build
#
# - A **project**: a folder that says which parameters its training takes and which Python it needs.
# - The same run **from a git commit**, after your own copy has changed.
# - The same run in an **environment built from a lock** with hashes, in a place that has no network.
# - **Four failures** on purpose, each with its error message.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab mlflow-01 | Your tracking server, which keeps the runs | `kubectl get kdcluster` |
# | git | The project gets a history | `git --version` |
# | User namespaces | A program without a network proves that nothing is downloaded; where they are disabled, the lab reports the proof as void | `unshare --map-root-user --net true` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
experiment: str = "wine project"  # the name that groups the runs
alpha: float = 0.01  # strength of the regularization
l1_ratio: float = 0.1  # share of the L1 penalty, which sets weights to zero
download: bool = False  # True: let uv download what its cache lacks (about 90 MB)
finished: bool = False  # True: the clean-up removes the environments of this lab

# %% [markdown]
# ## Setup
#
# `mlflow run` starts other programs: git, uv and the `python` of an environment. They are found by
# `PATH`, so the labs' own Python comes first there.

# %%
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
               "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
import mlflow
from packaging.requirements import Requirement

from labhelpers import begin, check, data, fresh, quiz, settings, show, workspace
from labhelpers.cluster import caller, cluster_of, connect

# %%
begin("mlflow/02")
logging.getLogger("mlflow").setLevel(logging.ERROR)
place, k8s, home = settings(), connect(), fresh(workspace("mlflow-02"))
server = cluster_of("mlflow-01", k8s, f"mlflow-{place.user}")["metadata"]["name"]
http, address = caller(k8s, server, "controller", 5000)
os.environ |= {"MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_TOKEN": http.headers["X-Auth-Token"],
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(place.ca)}
mlflow.set_tracking_uri(address)
mlflow.set_experiment(experiment)
client, project, tools = mlflow.MlflowClient(), home / "wine", home / "bin"
tools.mkdir(parents=True)
(tools / "uv").symlink_to(shutil.which("uv") or Path(sys.executable).with_name("uv"))
known = os.environ["PATH"].split(":")
ours = [str(tools), str(Path(sys.executable).parent)]
os.environ["PATH"] = ":".join(ours + [folder for folder in known if folder not in ours])

# %% [markdown]
# ## 1. Write the project
#
# A **project** is a folder with a file `MLproject`. It names the parameters, their types and defaults,
# and the command that they go into. Here are the two parameters of MLflow's oldest example: `alpha` must
# be given, `l1_ratio` need not. The command is a template: MLflow replaces `{alpha}` by the value that you
# give, and uses the default where you give none. The wines are in the folder, too: code and data have one
# history.

# %%
project.mkdir(exist_ok=True)
shutil.copy(data.datasets() / "wine" / "wine.csv", project)
training = '''"""Train an ElasticNet on the wines beside this file."""
import socket, sys
import mlflow
import pandas as pd
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import train_test_split

alpha, l1_ratio = map(float, sys.argv[1:])
wines = pd.read_csv("wine.csv", sep=";")
train, test = train_test_split(wines, test_size=0.25, random_state=7)
model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio).fit(train.drop(columns="quality"), train["quality"])
apart = model.predict(test.drop(columns="quality")) - test["quality"]
with mlflow.start_run():
    mlflow.log_metric("rmse", float((apart**2).mean() ** 0.5))
    mlflow.set_tag("python", sys.prefix)
    mlflow.set_tag("network", " ".join(name for _, name in socket.if_nameindex()))
'''

# %% tags=["blank"]
# blank: Give the entry point its two parameters: `alpha`, a float, and `l1_ratio`, a float of 0.1 by default.
# stub: parameters = {"alpha": "float", "l1_ratio": {"type": "float", "default": 0.9}}
# solution
parameters = {"alpha": "float", "l1_ratio": {"type": "float", "default": 0.1}}
# end of solution
entry = {"parameters": parameters, "command": "python train.py {alpha} {l1_ratio}"}
document = {"name": "wine", "python_env": "python_env.yaml", "entry_points": {"main": entry}}
(project / "train.py").write_text(training)
(project / "MLproject").write_text(json.dumps(document, indent=2))  # JSON is YAML, too
version = ".".join(map(str, sys.version_info[:3]))
python_env = {"python": version, "dependencies": ["-r project.lock"]}
(project / "python_env.yaml").write_text(json.dumps(python_env))
show.files(project)

# %% [markdown]
# The training logs two tags as evidence for step 4: the Python that ran it, and the network interfaces
# that it saw. Run the project with `env_manager="local"`, which means in the present environment.

# %%
def run(uri: str, commit: str = "") -> str:
    done = mlflow.projects.run(uri, parameters={"alpha": alpha}, env_manager="local",
                               version=commit or None, experiment_name=experiment)
    return done.run_id


local = run(str(project))
kept = client.get_run(local)
print(kept.data.params, {name: round(value, 4) for name, value in kept.data.metrics.items()})

# %%
def on_server(run_id: str) -> dict:
    answer = http.get(f"{address}/api/2.0/mlflow/runs/get", params={"run_id": run_id}, timeout=30)
    answer.raise_for_status()
    return answer.json()["run"]


def values(run_id: str, what: str) -> dict:
    return {one["key"]: one["value"] for one in on_server(run_id)["data"].get(what, [])}


# %%
check(
    "The project ran, and the server knows both parameters, also the one not given",
    lambda: on_server(local)["info"]["status"] == "FINISHED"
    and values(local, "params") == {"alpha": str(alpha), "l1_ratio": "0.1"}
    and values(local, "tags")["mlflow.source.type"] == "PROJECT" and 0 < values(local, "metrics")["rmse"] < 1,
    saw=lambda: f"{on_server(local)['info']['status']}: {values(local, 'params')}",
    hint=[
        "Look at the two parameters of the run: alpha is yours, l1_ratio the default of the project.",
        "Usually the default is missing in MLproject, so that MLflow asks for l1_ratio, too: "
        "`print((project / 'MLproject').read_text())` in a cell shows what is there.",
        "Run the cells that begin `project.mkdir(`, `parameters = {` and `def run(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Run it from a commit
#
# A run must name exactly the code that ran. Put the project into **git** and push it to a repository.
# Its address looks like that of a real server; a setting of git, `insteadOf`, maps it to a local folder,
# as companies do for mirrors. Each run of the cell below starts the history anew.

# %%
def git(*words: str) -> str:
    who = ["-c", "user.name=Labs", "-c", "user.email=labs@example.com"]
    done = subprocess.run(["git", *who, *words], cwd=project, capture_output=True, text=True, check=True)
    return done.stdout.strip()


remote = "https://git.example/wine.git"
for earlier in (project / ".git", home / "git.example"):
    fresh(earlier)
git("init", "--quiet", "--initial-branch", "main")
git("add", ".")
git("commit", "--quiet", "--message", "Train an ElasticNet on the wines")
commit = git("rev-parse", "HEAD")
git("clone", "--quiet", "--bare", ".", str(home / "git.example" / "wine.git"))
os.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{home}/git.example/.insteadOf",
               "GIT_CONFIG_VALUE_0": "https://git.example/"}
print(commit, git("ls-remote", remote, "HEAD"))

# %% [markdown]
# Now change the code in the folder without a commit: `alpha` becomes ten times as large. Run the folder,
# then run the commit.

# %% tags=["blank"]
text = (project / "train.py").read_text()
(project / "train.py").write_text(text.replace("alpha=alpha", "alpha=10 * alpha"))
dirty = run(str(project))
# blank: Run the project at `remote`, in the version of the commit.
# stub: pinned = dirty
# solution
pinned = run(remote, commit)
# end of solution
(project / "train.py").write_text(text)
rows = {"first run": local, "folder with the change": dirty, "commit": pinned}
show.table([[name, round(values(one, "metrics")["rmse"], 6), values(one, "tags").get("mlflow.source.git.commit", "")[:8]]
            for name, one in rows.items()], columns=["run", "rmse", "commit that the run names"])

# %% [markdown]
# Look at the second line. The run of the changed folder names the commit, although it ran other code:
# MLflow records the last commit and does not check for uncommitted changes. Only a run of a repository's
# address *with* a version runs exactly that version. The first run names no commit, because the folder was
# no repository yet.

# %%
check(
    "The commit has the first run's metric; the changed folder names a commit it did not run",
    lambda: values(pinned, "metrics")["rmse"] == values(local, "metrics")["rmse"] != values(dirty, "metrics")["rmse"]
    and values(pinned, "tags")["mlflow.source.name"] == remote
    and values(pinned, "tags")["mlflow.source.git.commit"] == values(dirty, "tags")["mlflow.source.git.commit"] == commit,
    saw=lambda: ", ".join(f"{name}: {values(one, 'metrics')['rmse']:.6f}" for name, one in rows.items()),
    hint=[
        "Look at the three numbers: the first and the last are the same.",
        "Usually the last run was one of the folder instead of the repository: "
        "`values(pinned, 'tags')['mlflow.source.name']` in a cell must show the address of a repository.",
        "Type `pinned = run(remote, commit)` in a cell, run it, then run this one again.",
    ],
)

# %% [markdown]
# ## 3. Pin what it needs
#
# The code is fixed, its packages are not. A **lock** names each package with its exact version and with
# the **hash** of each file it may be installed from. The labs have a lock; the project needs a part of
# it: three packages and their dependencies.

# %%
lock = (data.datasets().parent / "requirements.lock").read_text()
blocks: dict[str, list[str]] = {}
for block in re.split(r"\n(?=\w)", re.sub(r"(?m)^ *#.*\n", "", lock)):
    blocks.setdefault(re.match(r"[\w.-]+", block)[0].lower(), []).append(block.strip())


def needs(name: str, known: set[str]) -> set[str]:
    known.add(name)
    for need in map(Requirement, metadata.requires(name) or []):
        other = re.sub(r"[-_.]+", "-", need.name).lower()
        if other not in known and (need.marker is None or need.marker.evaluate({"extra": ""})):
            needs(other, known)
    return known


# %% tags=["blank"]
wanted: set[str] = set()
for name in ("mlflow-skinny", "pandas", "scikit-learn"):
    needs(name, wanted)
# blank: Write the blocks of all wanted packages into `project.lock`, hashes included.
# stub: lines = sorted(wanted)
# solution
lines = [block for name in sorted(wanted) for block in blocks[name]]
# end of solution
(project / "project.lock").write_text("\n".join(lines) + "\n")
(project / "uv.toml").write_text("[pip]\nrequire-hashes = true\nno-deps = true\n")
print(f"{len(wanted)} packages, {(project / 'project.lock').read_text().count('--hash')} hashes")

# %% [markdown]
# `uv.toml` sets two rules for each installation of this project: every file must match a hash of the
# lock, and nothing else is installed. **uv** keeps its downloads in a cache. Check that the cache has these
# packages; only with `download = True` may uv fetch what is missing.

# %%
def fill(*words: str) -> subprocess.CompletedProcess:
    trial = home / "trial"
    subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, trial], check=True)
    sync = ["uv", "pip", "sync", "--quiet", *words, "project.lock"]
    return subprocess.run(sync, cwd=project, env=os.environ | {"VIRTUAL_ENV": str(trial)}, capture_output=True, text=True)


filled = fill("--offline")
if filled.returncode and download:
    filled = fill()
print(filled.stderr.strip()[-300:] or "The cache has every package, and each fits its hash.")

# %%
check(
    "Every package of the lock has version and hashes, and uv installs it without a network",
    lambda: all(re.match(r"[\w.-]+==\S+", block) and "--hash=sha256:" in block for block in
                re.split(r"\n(?=\w)", (project / "project.lock").read_text()))
    and {"pandas", "numpy", "mlflow-skinny"} <= wanted and fill("--offline").returncode == 0,
    saw=lambda: f"{len(wanted)} packages; uv printed {filled.stderr.strip()[-160:] or 'no error'}",
    hint=[
        "Look at the first lines of project.lock: name, two equal signs, version, then hashes.",
        "Usually uv's cache lacks a package, because set-up ran with pip or with another uv: "
        "`uv cache dir` in a terminal says where it is.",
        "Type `download = True`, then run the cells that begin `wanted: set` and `def fill(` again.",
    ],
)

# %% [markdown]
# ## 4. Build it without a network
#
# To prove that nothing is downloaded, run without a network. In a new **network namespace** a program has
# only its own loopback interface. Linux lets every user create one, unless the administrator has disabled
# that. The tracking server cannot be reached from inside, so these runs go into files.

# %%
isolate = ["unshare", "--map-root-user", "--net"]
if shutil.which("unshare") is None or subprocess.run([*isolate, "true"], capture_output=True).returncode:
    isolate = []
    print("VOID: this machine allows no user namespaces. The next cells test the lock, and prove nothing about the network.")
program = """import sys
import mlflow

for folder in sys.argv[2:]:
    print("==", folder.rsplit("/", 1)[-1], file=sys.stderr, flush=True)
    try:
        mlflow.projects.run(folder, parameters={"alpha": sys.argv[1]}, env_manager="uv")
    except Exception as error:
        print("error:", str(error).splitlines()[0], file=sys.stderr, flush=True)
"""

# %%
files, environments = home / "runs", home / "environments"


def offline(*folders: Path) -> str:
    own = {"MLFLOW_TRACKING_URI": files.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true", "UV_OFFLINE": "1",
           "UV_PYTHON_DOWNLOADS": "never", "MLFLOW_ENV_ROOT": str(environments)}
    here = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_TRACKING", "MLFLOW_EXPERIMENT"))}
    command = [*isolate, sys.executable, "-c", program, str(alpha), *folders]
    return subprocess.run(command, env=here | own, capture_output=True, text=True).stderr


output = offline(project)
print(*re.findall(r"Resolved .*|Installed .*|error: .*", output), sep="\n")

# %% [markdown]
# uv built a separate environment for the project from its cache, in seconds. The run is in a file; copy
# it to the server, with a tag that names where it was made.

# %% tags=["blank"]
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
(found,) = mlflow.MlflowClient(files.as_uri()).search_runs(["0"], max_results=1)
del os.environ["MLFLOW_ALLOW_FILE_STORE"]
with mlflow.start_run(run_name="carried") as carried:
    mlflow.set_tags({key: found.data.tags[key] for key in ("python", "network")} | {"made": "offline"})
    # blank: Log the metrics of `found`.
    # stub: mlflow.log_metrics({"rmse": 0.0})
    # solution
    mlflow.log_metrics(found.data.metrics)
    # end of solution

# %%
def seen() -> str:
    return values(carried.info.run_id, "tags")["network"]


def proof() -> str:
    return f"the training saw the interfaces: {seen()}" if isolate else f"VOID, no namespace here; it saw {seen()}"


# %%
check(
    "Built from hashes, the project has the first run's number; the proof holds or is void",
    lambda: abs(values(carried.info.run_id, "metrics")["rmse"] - values(local, "metrics")["rmse"]) < 1e-9
    and Path(values(carried.info.run_id, "tags")["python"]).parent == environments
    and (seen() == "lo" if isolate else proof().startswith("VOID")),
    saw=lambda: f"{proof()}; Python in {Path(values(carried.info.run_id, 'tags')['python']).name[:15]}…",
    hint=[
        "Look at the number of the carried run, and at the interfaces: `lo` alone is no network.",
        "Usually the environment was not built, because the cache lacks a package: "
        "`print(output[-800:])` in a cell shows uv's messages.",
        "Run the cells that begin `def fill(`, `isolate = [`, `files, environments` and `os.environ[\"MLFLOW_ALLOW` again.",
    ],
)

# %% [markdown]
# ## 5. Fail on purpose
#
# Four mistakes are common in projects. Make each of them now: a missing parameter, a changed digit in a
# hash, a Python version that is not installed, and `mlflow` without a version. The last one looks
# harmless: the project still names every other version. But without the hash rule, an installer whose
# other pins exclude the newest release takes one of 2022, without a warning.

# %%
def broken(name: str, file: str, old: str, new: str) -> Path:
    folder = fresh(home / name)
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".git"))
    text = (folder / file).read_text()
    (folder / file).write_text(re.sub(old, new, text, count=1))
    return folder


cases = [
    broken("hash", "project.lock", r"(sha256:)\w", r"\1x"),
    broken("python", "python_env.yaml", re.escape(version), "3.11.99"),
    broken("unpinned", "project.lock", r"mlflow-skinny==\S+[^\n]*\n(?: +--hash.*\n?)+", "mlflow-skinny\n"),
]
shutil.rmtree(environments)
refusals = {}
for part in offline(*cases).split("== ")[1:]:
    refusals[part.split()[0]] = next((line for line in part.splitlines() if re.search("(?i)error:|no interpreter", line)), "")

# %%
try:
    mlflow.projects.run(str(project), env_manager="local")
except mlflow.exceptions.MlflowException as error:
    refusals["parameter"] = str(error)
show.table([[name, text[:110]] for name, text in refusals.items()], columns=["mistake", "message"])

# %% [markdown]
# The cell first removed the environments of step 4. MLflow derives an environment's name from names and
# versions of packages. A changed hash does not change that name, and an existing environment is **used
# again without a check of the lock**. To test a lock, remove the environment first.

# %%
check(
    "Each of the four failed before anything ran, with its reason",
    lambda: set(refusals) == {"parameter", "hash", "python", "unpinned"} and all(refusals.values())
    and "alpha" in refusals["parameter"] and "3.11.99" in refusals["python"]
    and not list(environments.glob("*/bin/python")),
    saw=lambda: "; ".join(f"{name}: {text[:40]}" for name, text in refusals.items()),
    hint=[
        "Look at the four lines of the table: each has a sentence.",
        "Usually an environment of an earlier run was still there and was used: "
        "`list(environments.iterdir())` in a cell must be empty.",
        "Run the cells that begin `def broken(` and `try:` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Your local changes … would be overwritten by checkout`**: you gave a *folder* and a version. MLflow
#   checks the version out in that very folder. Give the address of the repository.
# - **`uv: command not found`, or a Python is downloaded**: uv is not on the `PATH` of the program that runs
#   the project. It fetches a missing Python unless `UV_PYTHON_DOWNLOADS=never` is set.
# - **`unshare: Operation not permitted`**: the machine opens no user namespaces. All else holds; the proof
#   that nothing was downloaded is void, and the checkpoint says so.

# %% [markdown]
# ## Exercise
#
# Which package of the lock has the most hashes, and why so many? Store its name in `widest`.
#
# Hint: `blocks` has the text of each package; a block may stand there twice, for two Pythons.

# %% tags=["exercise"]
# stub: widest = ""
# solution
widest = max(wanted, key=lambda name: "".join(blocks[name]).count("--hash"))
# end of solution
print(widest)  # one file for each Python, processor and system

# %% [markdown]
# ## Recap
#
# - A **project** says what it takes and what it needs; anybody can start it by one line.
# - A run **from a commit** had exactly the same metric; a changed folder named a commit it did not run.
# - A **lock with hashes** built the environment again, without a network where that could be proven.
# - **Four failures** stopped before any training ran.
#
# Read on: [MLflow Projects](https://mlflow.org/docs/latest/ml/projects/) and
# [hashes in uv](https://docs.astral.sh/uv/pip/compile/). Next: what a saved model consists of.

# %%
quiz(
    "A run names a commit. Which code ran?",
    ["That of the commit", "That of the folder, which may have been changed since", "The newest of the branch"],
    right=1,
    because="For a folder MLflow notes the last commit only; a repository's address with a version is exact.",
)
quiz(
    "An attacker replaces a file of pandas on the index. What does your project do?",
    ["It installs it", "It warns", "It refuses: the hash differs"],
    right=2,
    because="With require-hashes no file is installed that does not fit a hash of the lock.",
)
quiz(
    "You changed one hash in the lock, and the project still runs. Why?",
    ["The environment was there already", "Hashes are optional", "MLflow ignores uv.toml"],
    right=0,
    because="Its name comes from names and versions; an existing environment is used without a check.",
)

# %% [markdown]
# ## Clean up
#
# Environments and trials take space; the project and its history are small. To remove all that this lab
# put into your folder, type `finished = True` in a cell and run this one; running it twice is safe.

# %%
for folder in (environments, home / "trial", *([home] if finished else [])):
    shutil.rmtree(folder, ignore_errors=True)
print("Removed the folder of this lab." if finished else f"Kept: the project in {project.name}, and its runs on {server}.")
