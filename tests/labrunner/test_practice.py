"""A practice copy has blanks, a checkpoint judges each of them, and the solution comes last."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from rich.console import Console

from labhelpers.checkpoint import begin
from labpanel.copies import Copies
from labrunner import notebook, practice, source
from labrunner.curriculum import load
from labrunner.replay import Plan, replay
from tests.labrunner.conftest import PASSES, Checkout
from tests.repo.tree import ROOT

BLANK = """
# %% [markdown]
# ## 3. Double the rows

# %% tags=["blank"]
def double() -> int:
    # blank: Return twice as many rows.
    # solution
    return rows * 2
    # end of solution
    # stub: return STUB

# %%
print(double())

# %%
check("There are twice as many", lambda: double() == rows * 2, saw=double, hint=["a", "b", "c"])
"""
STRICT, LAX = (PASSES + BLANK.replace("STUB", stub) for stub in ("0", "rows * 2"))


def built(checkout: Checkout, body: str = STRICT) -> str:
    curriculum = checkout(a=(body, []))
    return notebook.build(curriculum, curriculum.labs[0])


def sources(text: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"]]


@pytest.mark.fast
def test_guided_copy_is_complete_and_practice_copy_has_the_blank(checkout: Checkout) -> None:
    guided = built(checkout)
    assert "def double() -> int:\n    return rows * 2" in sources(guided)
    practised = practice.copy_of(guided)
    assert (
        "def double() -> int:\n    # Your task: Return twice as many rows.\n"
        "    # Your code here.\n    return 0"
    ) in sources(practised)
    assert not any("return rows * 2" in text for text in sources(practised))
    assert not practice.has_blanks(practised)


@pytest.mark.fast
def test_pull_gives_a_blank_back(checkout: Checkout) -> None:
    curriculum = checkout(a=(STRICT, []))
    before = source.read(curriculum.source(curriculum.labs[0]))
    edited = json.loads(notebook.build(curriculum, curriculum.labs[0]))
    path = curriculum.source(curriculum.labs[0])
    path.write_text(notebook.text_of(edited, before))
    assert source.read(path) == before


@pytest.mark.fast
def test_every_blank_of_the_labs_has_a_checkpoint_with_a_name() -> None:
    curriculum = load(ROOT)
    for lab in curriculum.labs:
        text = curriculum.notebook(lab).read_text("utf-8")
        solutions = json.loads(practice.copy_of(text))["metadata"]["labs"]["solutions"]
        assert "" not in solutions
        assert bool(solutions) == practice.has_blanks(text)


@pytest.mark.fast
def test_learner_finds_both_copies_and_starts_over_with_one(
    checkout: Checkout, tmp_path: Path
) -> None:
    curriculum = checkout(a=(STRICT, []), b=(PASSES, []))
    mine, (a, b) = Copies(curriculum, tmp_path / "mine"), curriculum.labs
    assert mine.refresh() == []
    assert mine.notebook(a).is_file()
    assert mine.notebook(a, practice=True).is_file()
    assert not mine.notebook(b, practice=True).exists()
    mine.notebook(a, practice=True).write_text("{}")
    mine.refresh()
    assert mine.notebook(a, practice=True).read_text() == "{}", "the learner's work stays"
    aside = mine.start_over(a, practice=True)
    assert aside is not None
    assert aside.name == "a-practice-before.ipynb"
    assert "Your task" in mine.notebook(a, practice=True).read_text()


@pytest.mark.fast
def test_solution_is_folded_below_the_third_hint_and_not_earlier(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.ipynb"
    path.write_text(practice.copy_of(built(checkout)), "utf-8")
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    monkeypatch.setenv("LABS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell: Any = InteractiveShell.instance()
    shown: list[str] = []
    monkeypatch.setattr(
        shell.display_pub, "publish", lambda data, **_: shown.append(data.get("text/html", ""))
    )
    try:
        shell.run_cell("from labhelpers import begin, check; begin('toy/a')")
        for name in ["There are twice as many"] * 3 + ["The rows are counted"] * 3:
            shell.run_cell(f"check({name!r}, False, hint=['a', 'b', 'c'])")
    finally:
        InteractiveShell.clear_instance()
        begin("")
    assert ["return rows * 2" in page for page in shown] == [False, False, True] + [False] * 3


@pytest.mark.labs
@pytest.mark.parametrize(("body", "status"), [(STRICT, "passed"), (LAX, "failed")])
def test_replay_proves_that_a_blank_fails_before_it_is_filled(
    checkout: Checkout, tmp_path: Path, body: str, status: str
) -> None:
    curriculum = checkout(a=(body, []))
    plan = Plan(curriculum.labs, tmp_path / "out", practice=True)
    (found,) = replay(curriculum, plan, Console(file=io.StringIO()))
    assert found.status == status, found.error
    assert all(point["ok"] for point in found.checkpoints)
    if status == "failed":
        assert found.error is not None
        assert "There are twice as many" in found.error["text"]


@pytest.mark.fast
def test_two_blanks_before_one_checkpoint_are_each_proved_by_it(checkout: Checkout) -> None:
    first = BLANK.partition("# %%\nprint")[0].replace("double", "treble").replace("STUB", "0")
    second = BLANK.replace("STUB", "0").replace(
        "# %%\nprint", "# %% [markdown]\n# Words.\n\n# %%\nprint"
    )
    body = PASSES + first + second
    cells = json.loads(practice.proof_of(built(checkout, body)))["cells"]
    judges = [one for one in cells if practice.MUST_FAIL in one["metadata"].get("tags", ())]
    assert [practice.checkpoint_of(one) for one in judges] == ["There are twice as many"] * 2
