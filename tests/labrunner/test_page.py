"""A lab's page holds its pictures with their words, and needs neither network nor checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from labrunner import page
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def executed(folder: Path, text: str, **data: str) -> Path:
    cell = nbformat.v4.new_code_cell("draw()")
    cell.outputs = [nbformat.v4.new_output("display_data", data=data)] if data else []
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(f"## 1. Draw a dot\n\n{text}"), cell]
    )
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "lab.ipynb")
    return folder / "lab.ipynb"


def test_picture_of_the_text_is_in_the_page(tmp_path: Path) -> None:
    shown = "![The house and its rooms.](../../Pictures/house.svg)"
    written = page.write(executed(tmp_path, shown), ROOT / "notebooks" / "core")
    text = written.read_text("utf-8")
    assert 'alt="The house and its rooms."' in text
    assert "data:image/svg+xml;base64," in text
    assert "Pictures/house.svg" not in text


def test_picture_that_is_not_there_stays_a_link(tmp_path: Path) -> None:
    written = page.write(executed(tmp_path, "![No picture.](nowhere.svg)"), tmp_path)
    assert 'src="nowhere.svg"' in written.read_text("utf-8")


def test_last_picture_is_found_with_its_step_and_words(tmp_path: Path) -> None:
    shown = {"image/png": DOT, "text/html": f'<img alt="A dot &amp; more" src="data:{DOT}">'}
    found = page.picture(page.read(executed(tmp_path, "Look.", **shown)))
    assert found == page.Picture(f"data:image/png;base64,{DOT}", "Draw a dot", "A dot & more")


def test_picture_without_words_is_called_by_its_step(tmp_path: Path) -> None:
    found = page.picture(page.read(executed(tmp_path, "Look.", **{"image/png": DOT})))
    assert found is not None
    assert found.words == "Draw a dot"


def test_solution_stays_folded(tmp_path: Path) -> None:
    folded = "<details>\n<summary>A solution</summary>\n\n```python\nx = 1\n```\n\n</details>"
    text = page.write(executed(tmp_path, folded), tmp_path).read_text("utf-8")
    inside = text.partition("<summary>A solution</summary>")[2].partition("</details>")[0]
    assert 'class="highlight"' in inside


def test_collapsed_code_is_folded_and_its_output_is_not(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("check('It is there', True)")
    cell.metadata["jupyter"] = {"source_hidden": True}
    cell.outputs = [nbformat.v4.new_output("stream", text="✓ It is there, says the output")]
    shown = nbformat.v4.new_code_cell("x = 1")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell, shown]), tmp_path / "lab.ipynb")
    text = page.write(tmp_path / "lab.ipynb", tmp_path).read_text("utf-8")
    assert text.count('<details class="labs-folded">') == 1
    inside = text.partition('<details class="labs-folded">')[2].partition("</details>")[0]
    assert "check" in inside
    assert "says the output" not in inside
    assert "says the output" in text


def test_pages_of_many_labs_are_written_by_a_program_that_is_started_once(tmp_path: Path) -> None:
    """The installed `labs` does not ask whether it is what was started, as this one does not."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; from labrunner import page; print('started')\n"
        "page.write_all({Path(word): Path(word).parent for word in sys.argv[1:]})\n"
    )
    labs = [executed(tmp_path / str(number), f"Lab {number}") for number in range(8)]
    words = [sys.executable, str(program), *map(str, labs)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr
    for number, lab in enumerate(labs):
        assert f"Lab {number}" in lab.with_suffix(".html").read_text("utf-8")
    labs[3].write_text("no notebook")
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode != 0
    assert "no notebook" in done.stderr or "NotJSONError" in done.stderr
