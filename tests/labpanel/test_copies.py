"""A learner's copies of the labs: no work is lost, and no checkout is changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from labpanel.copies import Copies, folder, is_waiting, read
from labrunner.errors import LabError
from labrunner.notebook import build, save
from tests.classroom_folder import commit
from tests.labrunner.conftest import PASSES, Checkout

pytestmark = pytest.mark.labs


@pytest.fixture
def mine(checkout: Checkout, tmp_path: Path) -> Copies:
    """Return the copies of two committed labs, brought once."""
    labs = checkout(a=(PASSES, []), b=(PASSES, []))
    release(labs.root, "")
    copies = Copies(labs, tmp_path / "copies")
    assert copies.refresh() == []
    return copies


def release(root: Path, change: str) -> None:
    """Change what the labs print, build and commit them."""
    from labrunner.curriculum import load

    labs = load(root)
    for lab in labs.labs:
        source = labs.source(lab)
        source.write_text(source.read_text().replace("print(city)", f"print(city){change}"))
        save(labs.notebook(lab), build(labs, lab))
    commit(root)


def test_copy_that_was_never_changed_follows_each_release(mine: Copies) -> None:
    release(mine.curriculum.root, "  # corrected")
    assert mine.refresh() == []
    for lab in mine.curriculum.labs:
        assert mine.notebook(lab).read_text() == build(mine.curriculum, lab)
        assert "# corrected" in mine.notebook(lab).read_text()


def test_copy_that_was_run_stays_and_its_learner_is_told(mine: Copies) -> None:
    a, b = mine.curriculum.labs
    work = mine.notebook(a).read_text().replace('"outputs": []', '"outputs": [ ]', 1)
    mine.notebook(a).write_text(work)
    assert mine.refresh() == [], "nothing is new yet"
    release(mine.curriculum.root, "  # corrected")
    for _ in range(2):
        assert mine.refresh() == [a]
        assert mine.notebook(a).read_text() == work
        assert "# corrected" in mine.notebook(b).read_text()
    assert is_waiting(read(mine.folder), a)
    assert not is_waiting(read(mine.folder), b)


def test_start_over_keeps_every_old_copy_aside(mine: Copies) -> None:
    a, _ = mine.curriculum.labs
    assert mine.start_over(a) is None, "there is nothing to keep"
    for name, work in (("a-before.ipynb", "first"), ("a-before-2.ipynb", "second")):
        mine.notebook(a).write_text(work)
        aside = mine.start_over(a)
        assert aside == mine.notebook(a).with_name(name)
        assert aside.read_text() == work
        assert mine.notebook(a).read_text() == build(mine.curriculum, a)
    assert mine.refresh() == []


def test_checkout_that_somebody_ran_is_neither_copied_nor_changed(mine: Copies) -> None:
    a, _ = mine.curriculum.labs
    tracked = mine.curriculum.notebook(a)
    tracked.write_text("run in the checkout")
    mine.notebook(a).unlink()
    mine.refresh()
    assert mine.notebook(a).read_text() == build(mine.curriculum, a)
    mine.notebook(a).write_text("run by the learner")
    words = ["git", "status", "--porcelain", "--untracked-files=no"]
    shown = subprocess.run(words, cwd=mine.curriculum.root, capture_output=True, text=True).stdout
    assert shown.split() == ["M", str(tracked.relative_to(mine.curriculum.root))]


def test_lab_that_is_withdrawn_goes_unless_it_was_changed(mine: Copies) -> None:
    a, b = mine.curriculum.labs
    mine.notebook(a).write_text("my work")
    for lab in (a, b):
        mine.curriculum.notebook(lab).unlink()
    (mine.curriculum.root / "notebooks" / "other.ipynb").write_text("{}")
    commit(mine.curriculum.root)
    mine.refresh()
    assert mine.notebook(a).read_text() == "my work"
    assert not mine.notebook(b).exists()


def test_folder_that_cannot_be_written_is_named(mine: Copies, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="set LABS_FOLDER to another folder"):
        Copies(mine.curriculum, tmp_path / "file" / "labs").refresh()


def test_copies_of_a_class_are_left_to_its_repository(mine: Copies) -> None:
    (mine.folder / ".git").mkdir()
    mine.notebook(mine.curriculum.labs[0]).write_text("pulled")
    assert mine.refresh() == []
    assert mine.notebook(mine.curriculum.labs[0]).read_text() == "pulled"


def test_folder_of_copies_is_the_learners_own() -> None:
    assert folder({"LABS_FOLDER": "/a", "LABS_HOME": "/b"}) == Path("/a")
    assert folder({"LABS_HOME": "/b"}) == Path("/b/labs")
    assert folder({}) == Path.home() / "labs" / "house-on-the-lake"
