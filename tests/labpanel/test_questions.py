"""The questions of a lab: found in its notebook, counted at the first answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labhelpers import progress
from labpanel import questions
from labrunner.curriculum import load
from labshow import origin, quiz
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

WHY = 'quiz("Why?", ["So", "Thus"], right=1, because="Thus.")'


@pytest.fixture
def asked(tmp_path: Path) -> questions.Question:
    notebook = tmp_path / "lab.ipynb"
    cells = [{"cell_type": "code", "source": [f"x = 1\n{WHY}\n", 'quiz("Who?", ["I"], right=0,']}]
    cells.append({"cell_type": "code", "source": f"x = 1\n{WHY}"})
    notebook.write_text(json.dumps({"cells": cells}))
    (found,) = questions.of(notebook)  # a cell that is half typed asks nothing
    return found


def met() -> dict[str, dict[str, object]]:
    return progress.load().get("core/01", {})


def test_every_lab_of_ours_asks_what_its_source_says() -> None:
    curriculum = load(ROOT)
    for lab in curriculum.labs:
        found = questions.of(curriculum.notebook(lab))
        assert len(found) == curriculum.notebook(lab).read_text("utf-8").count("quiz(\\n"), lab.id
        assert all(0 <= one.right < len(one.answers) for one in found)


def test_first_answer_counts(asked: questions.Question) -> None:
    assert questions.score((asked,), met()) == (0, 0)
    assert questions.answer("core/01", asked, 0) is False
    assert questions.answer("core/01", asked, 1) is True
    assert questions.score((asked,), met()) == (1, 0)


def test_reading_the_other_answers_later_changes_nothing(asked: questions.Question) -> None:
    assert questions.answer("core/01", asked, 1)
    assert not questions.answer("core/01", asked, 0)
    assert questions.score((asked,), met()) == (1, 1)


def test_page_says_which_lab_and_which_answer_a_fold_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(origin._lab, "id", "core/01")
    page = quiz._page("Why?", ["a) So", "b) Thus"], 1, "Thus.")
    assert page.count('data-labs-lab="core/01"') == 2
    assert 'data-labs-answer="1"><summary' in page
