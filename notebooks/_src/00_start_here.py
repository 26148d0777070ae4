# %% [markdown]
# # Start here
#
# What the workshops are about, how a lab works, and which platform runs behind it.

# %% [markdown]
# ## What you will build
#
# - A checked machine: everything that a lab needs is there, or you know what to type.
# - An overview: the story of the core workshop, and which part of the platform does what.
# - A first checkpoint, so that you know what one looks like when it fails.

# %% [markdown]
# ## The story
#
# A taxi company wants to tell its passengers how long a ride will take, before they get in. The city of
# New York publishes its past rides, millions each month. In the **core** workshop you build everything
# between those raw files and an answer in milliseconds. Machine learning is a cycle; each lab is one
# stage of it:
#
# | Stage | What you do | Lab |
# |---|---|---|
# | Get a place to work | sign in, and order a notebook on the platform | core-01, core-02 |
# | Prepare the data | turn raw files into a table with versions | core-03 |
# | Train | let a model learn from what is known when a ride is ordered | core-04 |
# | Register | record name, version, file and origin of the model | core-05 |
# | Serve | answer requests over HTTPS, one or hundreds at a time | core-06 |
# | Monitor, and begin again | April differs from March: notice it, and replace the model under load | core-07 |
#
# The other workshops go through the same cycle with other data: wines (`mlflow`), lorries (`logistics`)
# and loans (`mlops`). They stand alone; each lab says which labs it needs.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | This notebook, open in Jupyter | You run its cells one after another | You are reading it |
# | Some Python | You read and complete short cells | You can read `[n * n for n in range(3)]` |
# | Time | The line above gives the hours of each workshop; stop after any lab | A clock |
# | No knowledge of Kubernetes, Spark or machine learning | Each word is explained where it first occurs | Read on |

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

from labhelpers import begin, check, quiz
from labhelpers.checkpoint import CheckFailed

begin("start")

# %% [markdown]
# ## 1. Run a cell
#
# A **notebook** is text and code in one document. The grey boxes are cells of code: put the cursor
# in one and press Shift-Enter. The result appears below, and Jupyter goes on to the next cell.
#
# The number beside a cell counts the runs. All cells run in one process, the **kernel**: a name that one
# cell sets is known to the next. If results look wrong, choose *Restart kernel* and run from the top;
# every cell may be run twice.

# %%
greeting = "Hello from the kernel"
print(greeting, "on Python", sys.version.split()[0])

# %% [markdown]
# ## 2. Read a checkpoint
#
# Each step of a lab ends in a **checkpoint**. It looks at results (a file, a table, an object on
# the platform), not at your code, and shows what it found. When it fails, it shows a hint; run it again
# for the next hint, up to three. Here is one that fails, so that you have seen it:

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
# The labs come with everything they need: Java, Spark, the libraries for tables, and a platform of
# their own. One command checks all of it and shows what to do about each thing that is missing. In
# a terminal it is `labs doctor`.

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
# On a laptop, `make lab` starts all of it beside Jupyter. On a cluster, the same notebooks use the
# real services: nothing in a lab asks which of the two it is.
#
# If you use VS Code or the classic notebook, choose the kernel of this checkout's `.venv`. In the
# terminal from which you start your editor, type `source .venv/bin/activate`, `labsandbox up --detach`
# and `eval "$(labsandbox env)"` first; `labsandbox down` ends the platform.

# %% [markdown]
# ## 5. See where you stand
#
# JupyterLab shows your labs, your checkpoints and the platform at its left, under *Labs*. The next
# cell shows the same, as `labs progress` does in a terminal; run it again whenever you like.
#
# The notebooks you see are your own **copies**: what you type changes nobody else's, and a new release
# replaces only copies that you have not changed. Each lab has two: one is complete; in the other, for
# practice, three to five cells are left for you to write. These commands work in a terminal (*File, New,
# Terminal*):
#
# | Type | to |
# |---|---|
# | `labs open core/04` | open a lab; with `--practice`, the copy with cells to write |
# | `labs open core/04 --start-over` | get a fresh copy; the old one is kept beside it |
# | `labs prepare core/05` | bring the platform to the state that a lab needs, to start there |
# | `labs finish core` | pack your notebooks, their outputs and a page of evidence, as *Take-away (zip)* does |

# %%
progress = subprocess.run(
    [Path(sys.executable).with_name("labs"), "progress"], capture_output=True, text=True, check=False
)
print(progress.stdout or progress.stderr)

# %% [markdown]
# ## 6. Look up a word
#
# A lab explains a word where it first occurs, in bold. A bold word that is a link leads to the
# [glossary](glossary.md), which has all of them in one list, each with the lab that explains it.
# The panel at the left links to it, too.

# %% [markdown]
# ## If it does not work
#
# - **A cell shows `[*]` for a long time**: it is still running. The line below it shows what it waits for.
# - **`ModuleNotFoundError`**: the kernel is not that of the labs. Choose the kernel *Python 3* that
#   `make lab` starts.
# - **Results make no sense**: choose *Kernel, Restart Kernel and Run up to Selected Cell*.

# %% [markdown]
# ## Recap
#
# - Your machine is checked.
# - You know the story, and the parts of the platform by name.
# - You ran cells, and saw a checkpoint pass and fail.
#
# More: [JupyterLab](https://jupyterlab.readthedocs.io/en/stable/),
# [the concepts of Kubernetes](https://kubernetes.io/docs/concepts/).

# %%
quiz(
    "What does a checkpoint look at?",
    ["The text you typed", "The time you took", "Facts: files, tables, objects on the platform"],
    right=2,
    because="You may solve a step your own way; what counts is what is there afterwards.",
)
quiz(
    "Where is your progress kept?",
    ["In your home folder", "In this notebook", "On the cluster"],
    right=0,
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
