# %% [markdown]
# # Start here
#
# Ten minutes: what a notebook is, how a lab is built, and what stands behind it.

# %% [markdown]
# ## What you will build
#
# - A checked machine: everything a lab needs is there, or you know what to type.
# - A map in your head: which part of the platform does what.
# - A first checkpoint, so that you know what one looks like when it fails.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | This notebook, open in Jupyter | You run its cells one after another | You are reading it |
# | Ten minutes | Each core lab takes thirty to sixty | a clock |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
first_lab: str = "core/01"  # where you begin after this page

# %% [markdown]
# ## Setup

# %%
import subprocess
import sys
from pathlib import Path

from labhelpers import standing
from labhelpers.check import CheckFailed, begin, check
from labhelpers.quiz import quiz

begin("start")

# %% [markdown]
# ## 1. Run a cell
#
# A **notebook** is text and code in one document. The grey boxes are cells of code: put the cursor
# in one and press Shift-Enter. The result appears below, and Jupyter goes on to the next cell.
#
# The number beside a cell counts the runs. Cells share one memory, the **kernel**: what one cell
# names, the next one knows. When something is confused, choose *Restart kernel* and run from the
# top; every cell here may be run twice.

# %%
greeting = "Hello from the kernel"
print(greeting, "on Python", sys.version.split()[0])

# %% [markdown]
# ## 2. Read a checkpoint
#
# Each step of a lab ends in a **checkpoint**. It looks at the world (a file, a table, an object on
# the platform), never at your typing, and says what it saw. When it fails, it says what to do; run
# it again and the hint gets stronger. Here is one that fails, so that you have seen it:

# %%
try:
    check(
        "The moon is made of cheese",
        lambda: False,
        saw="rock",
        hint=["Look up at night.", "Ask somebody who has been there.", "It is rock. Go on."],
    )
except CheckFailed:
    print("A failed checkpoint stops the notebook. This one was caught on purpose.")

# %%
check("The kernel remembers the cell above", lambda: greeting.startswith("Hello"), saw=greeting)

# %% [markdown]
# ## 3. Check your machine
#
# The labs bring everything along: Java, Spark, the tables' libraries, and a platform of their own.
# One command looks at all of it and says what to do about each thing that is missing. In a
# terminal it is `labs doctor`.

# %%
doctor = subprocess.run(
    [Path(sys.executable).with_name("labs"), "doctor"], capture_output=True, text=True, check=False
)
print(doctor.stdout or doctor.stderr)

# %%
check(
    "This machine can run the labs",
    lambda: doctor.returncode == 0,
    saw=lambda: f"labs doctor ended with {doctor.returncode}",
    hint="The lines above marked as missing say what to type. Then run this cell's neighbour again.",
)

# %% [markdown]
# ## 4. Look at the map
#
# ![The house on the lake: you sign in at the front door, the Kubernetes API keeps what you ask for,
# KubeDirector and the controllers make it so, pods run it, and the project repository holds data,
# code and models.](../Pictures/house.svg)
#
# | Part | What it does | You meet it in |
# |---|---|---|
# | Front door | checks your password, gives you a session and a kubeconfig | core-01 |
# | Kubernetes API | keeps every object you ask for, and who may see it | all labs |
# | KubeDirector | turns one manifest into a working application | core-02 |
# | Project repository | the folder your tenant shares: data, code, models | core-03 |
# | Training engine | runs training jobs of many people, fairly | core-04 |
# | Model registry | a ConfigMap per model: name, version, where it came from | core-05 |
# | Deployment engine | answers predictions, and changes models while it runs | core-06, core-07 |
# | Gateway | gives a service an address outside, with TLS | core-02, core-06 |
#
# On a laptop, `make lab` starts all of it beside Jupyter. On a cluster, the same notebooks meet the
# real thing: nothing in a lab asks which of the two it is.
#
# You sit in VS Code or in the classic notebook? Choose the kernel of this checkout's `.venv`. In the
# terminal you start your editor from, type `source .venv/bin/activate`, `labsandbox up --detach`
# and `eval "$(labsandbox env)"` first; `labsandbox down` ends the platform.

# %% [markdown]
# ## 5. See where you stand
#
# JupyterLab shows your labs, your checkpoints and the platform at its left, under *Labs*. The next
# cell shows the same wherever you sit; run it again whenever you like.
#
# Progress is kept in your home folder, not in this checkout: a colleague who shares the files does
# not share your progress. You may start at any lab; `labs prepare core/05` in a terminal brings the
# platform to the state that lab needs.

# %%
standing.show()

# %% [markdown]
# ## 6. Keep the words at hand
#
# | Word | Meaning |
# |---|---|
# | cluster | machines that run programs for many people, managed as one |
# | container, pod | a program with all it needs; one or more of them that live together |
# | ConfigMap, Secret | small named data on the cluster, open or confidential |
# | Delta table | a folder of Parquet files with a log that makes changes safe |
# | kdcluster | an application that KubeDirector runs: roles, members, connections |
# | kubeconfig | the file that tells a client where the cluster is and who you are |
# | manifest | a description of what you want |
# | namespace | the part of a cluster that belongs to one tenant |
# | session | the platform's memory that you have shown your password |
# | tenant | a team with its members, its namespace and its project repository |

# %% [markdown]
# ## If it does not work
#
# - **A cell shows `[*]` for long**: it is still running. The line below it says what it waits for.
# - **`ModuleNotFoundError`**: the kernel is not the labs' own. Choose the kernel *Python 3* that
#   `make lab` starts.
# - **Everything is confused**: *Kernel, Restart Kernel and Run up to Selected Cell*.

# %% [markdown]
# ## Recap
#
# - You ran cells, and saw a checkpoint pass and fail.
# - Your machine is checked.
# - You know the parts of the platform by name.

# %%
quiz(
    "What does a checkpoint look at?",
    ["The text you typed", "Facts: files, tables, objects on the platform", "The time you took"],
    right=1,
    because="You may solve a step your own way; what counts is what is there afterwards.",
)
quiz(
    "Where is your progress kept?",
    ["In this notebook", "In your home folder", "On the cluster"],
    right=1,
    because="Notebooks and checkouts are shared; progress is yours.",
)
quiz(
    "Does a lab know whether it runs on the laptop platform or on a real cluster?",
    ["Yes", "No"],
    right=1,
    because="The path that is tested is the path that is taught.",
)
print(f"Next: lab {first_lab}.")

# %% [markdown]
# ## Clean up
#
# Nothing to remove.
