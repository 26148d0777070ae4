# %% [markdown]
# # Lab mlflow-07: Regression at each version
#
# Test use cases at several versions of MLflow, remove one pin, and see exactly the predicted cells fail.

# %% [markdown]
# ## What you will build
#
# - A **merge** of the use cases' requirements, which names a conflict and both of its owners.
# - A **matrix**: each use case at each version, in a temporary environment.
# - A **regression**: without one pin, the cells that you predict fail, and no others.
# - The same run as a Kubernetes **Job**, and as a step of a **pipeline**.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | A network, or a filled cache | The first run downloads 250 MB for two versions | `uv cache dir` |
# | 1 GB of free disk | Temporary environments, one for each version | `df -h /tmp` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
versions: str = "1.30.1,2.0.1"  # add 3.17.2, or any that labregress/versions.toml lists
broken_version: str = "2.0.1"  # the version that loses its pin
broken_pin: str = "setuptools<66"  # the pin it loses
finished: bool = False  # True: the clean-up removes the reports

# %% [markdown]
# ## Setup
#
# `labregress` is the command of this lab; a pipeline runs the same command. Environments are built on the
# local disk; reports go to the project repository.

# %%
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import yaml

from labhelpers import begin, check, fresh, quiz, show, workspace

# %%
begin("mlflow/07")
home = fresh(workspace("mlflow-07"))
home.mkdir(parents=True)
run_folder, local = home / "run", Path(tempfile.gettempdir()) / "labregress-lab"
tool = Path(importlib.util.find_spec("labregress").origin).parent


def labregress(*words: object) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "labregress", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


# %% [markdown]
# ## 1. Merge the environments
#
# Each use case lists its requirements. One environment for all of them exists only when their requirements
# agree. A resolver says that there is no solution; the merge also says **who** wants what. The case `legacy`
# below is an old one, with requirements of the time when its model was trained.

# %% tags=["blank"]
cases = tool / "cases"  # those of the matrix
legacy = home / "legacy"
legacy.mkdir(exist_ok=True)
# blank: List the requirements of the old case: scikit-learn exactly 1.5.2, numpy below 2, mlflow without a
# blank: version.
# stub: requirements = ["mlflow"]
# solution
requirements = ["scikit-learn==1.5.2", "numpy<2", "mlflow"]
# end of solution
(legacy / "requirements.txt").write_text("\n".join(requirements) + "\n")
modern = home / "modern"
shutil.copytree(cases / "sklearn", modern, dirs_exist_ok=True)
(modern / "requirements.txt").write_text("mlflow\nscikit-learn==1.9.1\npandas<3\n")
status, output = labregress("merge", modern, legacy, "--mlflow", "3.17.2", "--no-lock", "--out", home / "merge")
print(status, output)

# %%
def merge(*folders: Path) -> tuple[int, str]:
    return labregress("merge", *folders, "--mlflow", "3.17.2", "--no-lock", "--out", home / "merge")


check(
    "The conflict is named with both owners, and two cases of today merge without one",
    lambda: merge(modern, legacy)[0] == 1
    and "scikit-learn: modern wants ==1.9.1; legacy wants ==1.5.2" in merge(modern, legacy)[1]
    and merge(cases / "sklearn", cases / "xgboost")[0] == 0 and (home / "merge" / "Containerfile").is_file(),
    saw=lambda: merge(modern, legacy)[1].strip().splitlines()[-1],
    hint=[
        "Look at the line that begins with conflict: it has a package and two names.",
        "Usually the old case has other requirements: `(legacy / 'requirements.txt').read_text()` in a cell.",
        "Run the cell that begins `cases = tool` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Run the matrix
#
# A **cell** is one use case at one version: train, log, register, load, serve, and send requests in three
# protocols. Each cell has its own environment from a lock with hashes, its own port and process group.
# Releases of 2022 do not run with the libraries of today: the matrix has the **pins of their era**.

# %%
matrix_file = home / "versions.toml"
shutil.copyfile(tool / "versions.toml", matrix_file)
ARGUMENTS = [word for version in versions.split(",") for word in ("--versions", version)]


def run() -> tuple[int, str]:
    return labregress("run", *ARGUMENTS, "--matrix", matrix_file, "--out", run_folder, "--scratch", local)


first, log = run()
print(log)
print(labregress("accept", "--out", run_folder)[1] if first == 0 else "Not accepted.")


# %%
def rows() -> pd.DataFrame:
    return pd.DataFrame(json.loads((run_folder / "report.json").read_text())["rows"])


def accepted() -> pd.DataFrame:
    return pd.DataFrame(json.loads((run_folder / "accepted.json").read_text())["rows"])


shown = "http" if "http" in rows() else "error"  # no scorer was asked when no environment could be built
show.table(rows().pivot(index=["version", "case"], columns="protocol", values=shown).reset_index())

# %%
check(
    "Every row of the matrix passes, and the report is accepted",
    lambda: set(accepted()["status"]) == {"passed"}
    and set(accepted()["version"]) == set(versions.split(",")) and len(accepted()) == 6 * len(versions.split(",")),
    saw=lambda: f"{len(accepted())} rows, {(accepted()['status'] == 'passed').sum()} passed",
    hint=[
        "Look at the log: it has a line for each cell, and the last line counts the results.",
        "Usually an environment could not be built: `print(log)` in a cell has the reason.",
        "Run the cells that begin `matrix_file = ` and `def rows(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Read the matrix
#
# The numbers in the table are HTTP statuses of the scorer: 200 is an answer, 400 and 415 are refusals. An
# expected refusal is no failure: the matrix lists the status that each version must return. One column has
# 200 in each row: that request needs no conversion.

# %% tags=["blank"]
table = rows().pivot(index=["version", "case"], columns="protocol", values="http")
# blank: Let `portable` be the names of the protocols that every version answers with 200.
# stub: portable = list(table.columns)
# solution
portable = [name for name in table.columns if (table[name] == 200).all()]
# end of solution
print(portable)

# %%
def answered() -> set[str]:
    return {name for name, group in accepted().groupby("protocol") if set(group["http"]) == {200}}


check(
    "One protocol is answered by every version",
    lambda: set(portable) == answered() == {"portable"},
    saw=lambda: f"answered everywhere: {sorted(answered())}",
    hint=[
        "Look at the columns: which has 200 only?",
        "Usually the comparison was made for one row: `table` in a cell shows all.",
        "Run the cell that begins `table = rows` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Remove one pin
#
# Predict first: which cells get another environment, and at which step do they fail? Then remove the pin
# from your copy of the matrix, and run again. The result of a cell whose lock, case and driver did not
# change is kept from the earlier run, so only what you changed runs.

# %% tags=["blank"]
# blank: Let `predicted` be the set of (version, case) whose rows will fail.
# stub: predicted = set()
# solution
predicted = {(broken_version, "sklearn"), (broken_version, "xgboost")}
# end of solution


def without(text: str) -> str:
    head, found, tail = text.partition(f'mlflow = "{broken_version}"')
    return head + found + tail.replace(f'"{broken_pin}"', "", 1)


matrix_file.write_text(without((tool / "versions.toml").read_text()))
second, log = run()
print(log)
red = rows()[rows()["status"] == "failed"]
show.table(red[["version", "case", "step", "error", "cure"]].drop_duplicates())
note = json.dumps({"status": second, "red": sorted(set(zip(red["version"], red["case"], red["step"], strict=True)))})
(home / "broken.json").write_text(note);

# %%
def broken() -> dict:
    return json.loads((home / "broken.json").read_text())


check(
    "Exactly the predicted cells are red, at the import, and the run ended with 1",
    lambda: {(version, case) for version, case, _ in broken()["red"]} == predicted
    and {step for *_, step in broken()["red"]} == {"import"} and broken()["status"] == 1,
    saw=lambda: f"status {broken()['status']}; red: {broken()['red']}",
    hint=[
        "Look at the table: which version, which cases, which step?",
        "Usually the prediction names another version: `red` in a cell shows what failed.",
        "Run the cell that begins `predicted = ` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Cure it
#
# The report names a cure for each known error: restore the pin. The results of the first run have the same
# lock, so nothing has to run, and the report is green again in a second.

# %%
matrix_file.write_text((tool / "versions.toml").read_text())
third, log = run()
print(log)


def last_run() -> tuple[set[str], int]:
    kept = run()[1].count("kept from an earlier run")
    return set(rows()["status"]), kept


# %%
check(
    "With the pin all is green, and no cell had to run again",
    lambda: last_run() == ({"passed"}, 2 * len(versions.split(","))),
    saw=lambda: f"{last_run()[0]}, {last_run()[1]} cells kept",
    hint=[
        "Look at the log: each cell was kept from an earlier run.",
        "Usually the pin is still missing: `without(matrix_file.read_text()) == matrix_file.read_text()` in a cell.",
        "Run the cell that begins `matrix_file.write_text(` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Hand it to a pipeline
#
# A pipeline runs the matrix for each change. The exit status is 1 when something **new** fails, Jenkins and
# GitHub read JUnit's format, and on a cluster each version is one index of a Job. The files for Jenkins and
# GitHub are in `deploy/pipelines`.

# %%
manifest = yaml.safe_load(labregress("job", *ARGUMENTS, "--claim", "project-repo")[1])
(home / "job.yaml").write_text(yaml.safe_dump(manifest))
print((home / "job.yaml").read_text()[:600])


# %% tags=["blank"]
def counted(file: Path) -> tuple[int, int]:
    suites = ElementTree.parse(file).getroot()
    # blank: Return the sums of `tests` and of `failures` of all suites.
    # stub: return 0, 0
    # solution
    return sum(int(one.get("tests")) for one in suites), sum(int(one.get("failures")) for one in suites)
    # end of solution


print(counted(run_folder / "junit.xml"))

# %%
check(
    "JUnit counts the same rows, and the Job has an index for each version",
    lambda: counted(run_folder / "junit.xml") == (len(rows()), 0)
    and yaml.safe_load((home / "job.yaml").read_text())["spec"]["completions"] == len(versions.split(",")),
    saw=lambda: f"{counted(run_folder / 'junit.xml')} tests and failures; {len(rows())} rows",
    hint=[
        "Look at the two numbers: the rows of the report, and zero.",
        "Usually the attribute is text and not a number: `ElementTree.parse(run_folder / 'junit.xml').getroot()[0].attrib`.",
        "Run the cells that begin `manifest = ` and `def counted(` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Expected `uv … to build an environment`**: the index did not answer. The next run goes on where this
#   one stopped.
# - **`another labregress run there`**: a run in the same folder has not ended. Processes that a killed run
#   left are ended at the next start.
# - **A cell stops at serve**: the machine is too busy to start a scorer in four minutes. Run it again.

# %% [markdown]
# ## Exercise
#
# Which step takes longest? Store its name in `slowest`; `seconds` of a row has the seconds of each step.
#
# Hint: `pd.DataFrame(list(rows()["seconds"]))` has a column for each step.

# %% tags=["exercise"]
# stub: slowest = ""
# solution
slowest = pd.DataFrame(list(rows()["seconds"])).mean().idxmax()
# end of solution
print(slowest)

# %% [markdown]
# ## Recap
#
# - A **merge** named a conflict and both of its owners.
# - A **matrix** tested each use case at each version, in temporary environments.
# - Without one pin exactly the **predicted** cells failed; with it, nothing had to run again.
# - The same command runs as a **Job** and in a **pipeline**.
#
# More: [pip's hashes](https://pip.pypa.io/en/stable/topics/secure-installs/),
# [uv's locks](https://docs.astral.sh/uv/pip/compile/),
# [indexed Jobs](https://kubernetes.io/docs/tasks/job/indexed-parallel-processing-static/).
# Next: the server itself, on the platform.

# %%
quiz(
    "A requirement is mlflow without a version. What happens in two years?",
    ["Nothing", "The rebuilt environment speaks another protocol", "It cannot be built"],
    right=1,
    because="It installs the release of that day, whose scorer may refuse the requests of today.",
)
quiz(
    "A known failure fails again. What is the result of the pipeline?",
    ["Green: nothing new fails", "Red: something fails", "None: it is skipped"],
    right=0,
    because="The accepted report has it; only a new failure ends with 1.",
)
quiz(
    "Why does each cell have a process group of its own?",
    ["For speed", "For its port", "To end the scorer and its workers with it"],
    right=2,
    because="A scorer starts workers; ending the first process alone leaves them behind.",
)

# %% [markdown]
# ## Clean up
#
# The environments are removed already. To remove the reports as well, type `finished = True` in a cell and run
# this one; running it twice is safe.

# %%
if finished:
    shutil.rmtree(home, ignore_errors=True)
print("Removed." if finished else f"Kept: {run_folder / 'report.html'}")
