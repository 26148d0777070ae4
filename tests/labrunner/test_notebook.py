"""The notebook is what the source gives, byte by byte, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from labrunner import notebook, source
from labrunner.curriculum import Curriculum, load
from labrunner.errors import BadCurriculum, BadSource, UnknownLab
from tests.labrunner.conftest import ENTRY, PASSES, Checkout

pytestmark = pytest.mark.fast


@pytest.fixture
def two(checkout: Checkout) -> Curriculum:
    return checkout(a=(PASSES, []), b=(PASSES, ["a"]))


def built(curriculum: Curriculum, at: int = 0) -> dict[str, object]:
    return dict(json.loads(notebook.build(curriculum, curriculum.labs[at])))


def test_build_twice_gives_the_same_bytes(two: Curriculum) -> None:
    texts = {notebook.build(two, two.labs[0]) for _ in range(2)}
    assert len(texts) == 1


def test_build_gives_a_valid_notebook_without_outputs_and_pairing(two: Curriculum) -> None:
    text = notebook.build(two, two.labs[0])
    read = nbformat.reads(text, as_version=4)
    nbformat.validate(read)
    assert read.metadata.kernelspec.language == "python"
    assert "jupytext" not in text
    assert all(not cell.outputs for cell in read.cells if cell.cell_type == "code")


def test_cell_ids_are_unique_and_survive_an_edit_elsewhere(two: Curriculum) -> None:
    before = [cell["id"] for cell in built(two)["cells"]]  # type: ignore[attr-defined]
    assert len(set(before)) == len(before)
    path = two.source(two.labs[0])
    path.write_text(path.read_text().replace("print(city)", "print(city, rows)"))
    after = [cell["id"] for cell in built(two)["cells"]]  # type: ignore[attr-defined]
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_same_cell_twice_gets_two_ids(two: Curriculum) -> None:
    path = two.source(two.labs[0])
    path.write_text(path.read_text() + "\n# %%\nrows\n\n# %%\nrows\n")
    ids = [cell["id"] for cell in built(two)["cells"]]  # type: ignore[attr-defined]
    assert len(set(ids)) == len(ids)


def test_generated_line_names_time_level_and_neighbours(two: Curriculum) -> None:
    first = notebook.cells_of(two, two.labs[0])[0].text
    assert first.endswith("*5 minutes · beginner · next: [B](b.ipynb)*")


def test_exercise_shows_the_stub_and_folds_the_solution_away(two: Curriculum) -> None:
    *_, exercise, folded = notebook.cells_of(two, two.labs[0])
    assert exercise.text == "# Double the rows.\ndoubled = None\n# Your code here."
    assert "<details>" in folded.text
    assert "doubled = rows * 2" in folded.text


def test_exercise_is_solved_when_asked(two: Curriculum) -> None:
    *_, exercise, _ = notebook.cells_of(two, two.labs[0], solutions=True)
    assert exercise.text == "# Double the rows.\ndoubled = rows * 2"


def test_cells_with_hints_and_answers_are_collapsed_and_no_others(two: Curriculum) -> None:
    path = two.source(two.labs[0])
    path.write_text(path.read_text() + '\n# %%\nquiz("Why?", ["a"], right=0, because="b")\n')
    cells: list[dict[str, Any]] = built(two)["cells"]  # type: ignore[assignment]
    hidden = [
        "".join(cell["source"])[:5]
        for cell in cells
        if cell["metadata"].get("jupyter") == {"source_hidden": True}
    ]
    assert hidden == ["check", "quiz("]


def test_pull_gives_the_source_back(two: Curriculum) -> None:
    lab = two.labs[0]
    path = two.source(lab)
    before = source.read(path)
    path.write_text(notebook.text_of(built(two), before))
    assert source.read(path) == before


def test_pull_takes_an_edit_over(two: Curriculum) -> None:
    lab = two.labs[0]
    edited = json.loads(notebook.build(two, lab).replace("print(city)", "print(city, 7)"))
    text = notebook.text_of(edited, source.read(two.source(lab)))
    assert "print(city, 7)" in text
    assert "doubled = rows * 2" in text, "the solution stays"


def test_notebook_with_one_more_byte_is_not_current(two: Curriculum) -> None:
    lab = two.labs[0]
    assert notebook.is_current(two, lab)
    path = two.notebook(lab)
    path.write_bytes(path.read_bytes() + b"\n")
    assert not notebook.is_current(two, lab)


def test_parameters_are_read_with_type_and_help(two: Curriculum) -> None:
    found = source.parameters(source.read(two.source(two.labs[0])))
    assert [(one.name, one.type, one.value) for one in found] == [
        ("rows", "int", 10),
        ("city", "str", "New York"),
    ]
    assert found[0].help == "how many rows"


def test_parameter_that_is_no_literal_is_refused() -> None:
    cell = source.Cell("code", "rows: int = 2 * n  # rows", ("parameters",))
    with pytest.raises(BadSource, match="Expected a literal"):
        source.parameters([cell])


def test_unknown_lab_names_those_there_are(two: Curriculum) -> None:
    with pytest.raises(UnknownLab, match="toy/a, toy/b"):
        two.get("toy/z")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENTRY.format(id="x", title="X", needs=["y"]), "must stand above"),
        (ENTRY.format(id="x", title="X", needs=[]) * 2, "twice"),
        ('[[lab]]\nid = "x"\n', "a key is missing"),
        (ENTRY.format(id="x", title="X", needs=[]) + "colour = 1\n", "unknown key"),
        ("[[lab]", "labs.toml"),
    ],
)
def test_broken_list_of_labs_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "labs.toml").write_text(text)
    with pytest.raises(BadCurriculum, match=said):
        load(tmp_path)
