"""The first draft of a new lab, in the anatomy of the house, for `labs new`."""

from __future__ import annotations

from labrunner.curriculum import Lab

STEPS = 4
HEAD = """\
# %% [markdown]
# # {heading}
#
# One sentence that says what the learner can do afterwards.

# %% [markdown]
# ## What you will build
#
# - The first thing, in the present tense.
# - The second thing.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | The environment | All programs of the labs | `labs doctor` |

# %% [markdown]
# ## Parameters
#
# What you may change.

# %% tags=["parameters"]
rows: int = 1000  # how many rows the lab works on
finished: bool = False  # True: the clean-up removes what this lab made

# %% [markdown]
# ## Setup

# %%
from labhelpers import begin, check

begin("{id}")
"""
STEP = """
# %% [markdown]
# ## {number}. Verb the noun
#
# Why this step comes now, in one to three sentences that make the learner want to run the cell.

# %%
made = rows * {number}
made

# %%
check(
    "Something was made",
    lambda: made > 0,
    saw=lambda: made,
    hint=[
        "Where to look.",
        "Usually this is wrong: `print(made)` in a cell shows it.",
        "Run the cell that begins `made = rows * {number}` again, then this one.",
    ],
)
"""
TAIL = """
# %% [markdown]
# ## If it does not work
#
# | Symptom | Cure |
# |---|---|
# | What the learner sees | What to type |
# | Another one | Its cure |

# %% [markdown]
# ## Exercise
#
# One task, five to ten minutes. A hint.

# %% tags=["exercise"]
# stub: doubled = None
# solution
doubled = made * 2
# end of solution

# %% [markdown]
# ## Recap
#
# - The first thing, in the past tense.
# - The second thing.
#
# More: [a page](https://example.org/one), [another page](https://example.org/two).
#
# 1. A first question?
# 2. A second question?
# 3. A third question?

# %% [markdown]
# ## Clean up
#
# What this removes when you have set `finished`, what it keeps and why.

# %%
if finished:
    del made
"""


def draft(lab: Lab) -> str:
    """Return the source of a new lab."""
    steps = "".join(STEP.format(number=number) for number in range(1, STEPS + 1))
    return HEAD.format(heading=lab.heading, id=lab.id) + steps + TAIL
