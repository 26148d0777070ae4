"""A small checkout of labs that run in a second or two, for the tests of the runner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labrunner import notebook
from labrunner.curriculum import Curriculum, load

HEAD = """\
# %% [markdown]
# # Lab {name}: {title}
#
# A lab for the tests of the runner.

# %% tags=["parameters"]
rows: int = 10  # how many rows
city: str = "New York"  # where the rides are

# %% [markdown]
# ## Setup

# %%
from labhelpers.checkpoint import begin, check
begin("{id}")
"""

PASSES = """
# %% [markdown]
# ## 1. Count the rows

# %% tags=["nbval-check-output"]
sum(range(rows))

# %%
check("The rows are counted", rows > 0, saw=rows, hint="Run the cell above.")

# %% [markdown]
# ## 2. Show a picture

# %%
print(city)

# %% tags=["exercise"]
# Double the rows.
# stub: doubled = None
# solution
doubled = rows * 2
# end of solution
"""

FAILS = """
# %% [markdown]
# ## 1. Break on purpose

# %%
check("The sky is green", False, saw="a blue sky", hint="Wait for spring.")
"""

ENTRY = """
[[lab]]
id = "{id}"
file = "{id}"
title = "{title}"
level = "beginner"
minutes = 5
needs = {needs}
"""

Checkout = Callable[..., Curriculum]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a function that writes labs given as id=(body, needs) and loads them."""

    def write(**labs: tuple[str, list[str]]) -> Curriculum:
        listed = ""
        for name, (body, needs) in labs.items():
            lab_id = f"toy/{name}"
            title = name.capitalize()
            listed += ENTRY.format(id=lab_id, title=title, needs=[f"toy/{need}" for need in needs])
            source = tmp_path / "notebooks" / "_src" / f"{lab_id}.py"
            source.parent.mkdir(parents=True, exist_ok=True)
            head = HEAD.format(id=lab_id, name=lab_id.replace("/", "-"), title=title)
            source.write_text(head + body, "utf-8")
        (tmp_path / "labs.toml").write_text(listed, "utf-8")
        curriculum = load(tmp_path)
        for lab in curriculum.labs:
            notebook.save(curriculum.notebook(lab), notebook.build(curriculum, lab))
        return curriculum

    return write
