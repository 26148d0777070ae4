"""The labs reach the learners, and no learner's edit is ever lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labclass import collection
from labrunner import release
from tests.classroom_folder import commit

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).resolve().parents[2]


def notebook(*lines: str) -> str:
    """Return the text of a notebook with a cell for each line."""
    cells = [{"cell_type": "code", "id": str(n), "source": s} for n, s in enumerate(lines)]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}, indent=1)


class Course:
    """An instructor's checkout, its published repository, a learner's copy."""

    def __init__(self, root: Path) -> None:
        self.root, self.repository, self.copy = root / "checkout", root / "bare", root / "copy"
        self.write("notebooks/core/01_a.ipynb", notebook("one", "two", "three"))
        self.write("notebooks/core/02_b.ipynb", notebook("one"))
        self.write("notebooks/_src/core/01_a.py", "# the source")
        self.write("notebooks/.ipynb_checkpoints/01.ipynb", "{}")
        self.write("Pictures/map.svg", "<svg/>")
        self.write("LICENSE", "a licence")
        self.write("build/class/credentials.csv", "a password")

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def publish(self) -> str:
        commit(self.root)
        return collection.publish(self.repository, self.root)

    def pull(self) -> bool:
        # As a program, as a server's start does it: nbgitpuller leaves its pipes to the collector.
        words = ["-m", "labclass.collection", "pull", f"file://{self.repository}"]
        done = subprocess.run([sys.executable, *words, str(self.copy)], cwd=ROOT, check=False)
        return done.returncode == 0

    def text(self, name: str) -> str:
        return (self.copy / name).read_text()


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """Return a course that was published and pulled once."""
    made = Course(tmp_path)
    made.publish()
    assert made.pull()
    return made


def test_learner_gets_notebooks_and_pictures_beside_each_other_and_nothing_else(
    course: Course,
) -> None:
    found = {
        str(file.relative_to(course.copy))
        for file in course.copy.rglob("*")
        if file.is_file() and ".git" not in file.relative_to(course.copy).parts
    }
    names = {"notebooks/core/01_a.ipynb", "notebooks/core/02_b.ipynb", "Pictures/map.svg"}
    assert found == names | {"LICENSE", ".gitattributes"}


def ran(root: Path, name: str) -> None:
    """Leave a notebook as somebody does who ran it and solved its exercise."""
    solved = json.loads((root / name).read_text())
    cell = {"cell_type": "code", "source": "the answer", "outputs": [{"text": "a private output"}]}
    solved["cells"].append(cell)
    (root / name).write_text(json.dumps(solved))


def test_what_the_instructor_ran_reaches_nobody(course: Course) -> None:
    name = "notebooks/core/01_a.ipynb"
    before = course.text(name)
    ran(course.root, name)
    (course.root / "notebooks/core/scratch.ipynb").write_text(notebook("private"))
    subprocess.run(["git", "add", name], cwd=course.root, check=True)  # staged is not committed
    collection.publish(course.repository, course.root)
    assert course.pull()
    assert course.text(name) == before
    assert not (course.copy / "notebooks/core/scratch.ipynb").exists()


def test_checkout_without_git_publishes_what_its_sources_give(tmp_path: Path) -> None:
    made = Course(tmp_path)
    lab = {"id": "core/01", "file": "core/01_a", "title": "A", "level": "beginner", "minutes": 5}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lab.items())
    made.write("labs.toml", f"[[lab]]\n{lines}\n")
    made.write("notebooks/_src/core/01_a.py", "# %% [markdown]\n# # A\n\n# %%\n1 + 1\n")
    ran(made.root, "notebooks/core/01_a.ipynb")
    collection.publish(made.repository, made.root)
    assert made.pull()
    assert "1 + 1" in made.text("notebooks/core/01_a.ipynb")
    assert "the answer" not in made.text("notebooks/core/01_a.ipynb")
    assert not (made.copy / "notebooks/core/02_b.ipynb").exists(), "no source, so no lab"
    assert made.text("Pictures/map.svg") == "<svg/>"


def test_published_from_a_folder_inside_the_checkout(course: Course) -> None:
    inside = course.root / "build" / "class" / "hub"
    inside.mkdir()
    code = (
        "import sys; from pathlib import Path; from labclass import collection;"
        "print(collection.publish(Path('class.git').absolute(), Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(course.root)],
        cwd=inside,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GIT_DIR": "elsewhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 40


def test_release_of_this_checkout_is_its_labs_without_outputs() -> None:
    found = release.files(ROOT)
    notebooks = [json.loads(found[name]) for name in found if name.endswith(".ipynb")]
    assert len(notebooks) >= 8
    outputs = [cell["outputs"] for one in notebooks for cell in one["cells"] if "outputs" in cell]
    assert outputs
    assert not any(outputs)
    assert "LICENSE" in found


def test_learners_of_a_hub_get_practice_copies_of_this_checkouts_labs(tmp_path: Path) -> None:
    course = Course(tmp_path)
    collection.publish(course.repository)
    assert course.pull()
    lab = course.copy / "notebooks" / "core" / "04_train.ipynb"
    copy = lab.with_name("04_train-practice.ipynb")
    solution = 'rule = np.polyval(line, rides[\\"straight_miles\\"])'
    code = {file: json.dumps(cells_of(file)) for file in (lab, copy)}
    assert solution in code[lab]
    assert solution not in code[copy]


def cells_of(notebook: Path) -> list[str]:
    """Return the code of a notebook; solutions of a practice copy are in its hints, not there."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_publishing_the_same_again_changes_nothing(course: Course) -> None:
    before = course.publish()
    assert course.publish() == before
    course.write("notebooks/core/01_a.ipynb", notebook("new"))
    assert course.publish() != before


def test_edited_notebook_survives_and_others_arrive(course: Course) -> None:
    mine = notebook("one", "MY ANSWER", "three")
    (course.copy / "notebooks/core/01_a.ipynb").write_text(mine)
    (course.copy / "notebooks/core/my_own.ipynb").write_text(notebook("mine alone"))
    course.write("notebooks/core/01_a.ipynb", notebook("ONE", "two", "THREE"))
    course.write("notebooks/core/02_b.ipynb", notebook("corrected"))
    course.write("notebooks/core/03_c.ipynb", notebook("new"))
    course.publish()
    assert course.pull()
    assert course.text("notebooks/core/01_a.ipynb") == mine, "whole, and not merged line by line"
    assert course.text("notebooks/core/my_own.ipynb") == notebook("mine alone")
    assert course.text("notebooks/core/02_b.ipynb") == notebook("corrected")
    assert course.text("notebooks/core/03_c.ipynb") == notebook("new")


def test_edits_survive_many_pulls(course: Course) -> None:
    for turn in range(3):
        mine = notebook(f"my answer {turn}")
        (course.copy / "notebooks/core/01_a.ipynb").write_text(mine)
        course.write("notebooks/core/01_a.ipynb", notebook(f"upstream {turn}"))
        course.write("notebooks/core/02_b.ipynb", notebook(f"upstream {turn}"))
        course.publish()
        assert course.pull()
        assert course.text("notebooks/core/01_a.ipynb") == mine
        assert course.text("notebooks/core/02_b.ipynb") == notebook(f"upstream {turn}")


def test_renamed_notebook_makes_room_for_the_new_one(course: Course) -> None:
    mine = course.copy / "notebooks/core/01_a.ipynb"
    mine.rename(mine.with_name("01_mine.ipynb"))
    course.write("notebooks/core/01_a.ipynb", notebook("new"))
    course.publish()
    assert course.pull()
    assert course.text("notebooks/core/01_a.ipynb") == notebook("new")
    assert course.text("notebooks/core/01_mine.ipynb") == notebook("one", "two", "three")


def test_notebook_that_was_withdrawn_stays_where_it_was_edited(course: Course) -> None:
    (course.copy / "notebooks/core/01_a.ipynb").write_text(notebook("mine"))
    for name in ("01_a", "02_b"):
        (course.root / f"notebooks/core/{name}.ipynb").unlink()
    course.write("notebooks/core/09_z.ipynb", notebook("last"))
    course.publish()
    assert course.pull()
    assert course.text("notebooks/core/01_a.ipynb") == notebook("mine")
    assert not (course.copy / "notebooks/core/02_b.ipynb").exists()


def test_new_notebook_moves_a_learners_file_of_that_name_aside(course: Course) -> None:
    (course.copy / "notebooks/core/03_c.ipynb").write_text(notebook("mine"))
    course.write("notebooks/core/03_c.ipynb", notebook("upstream"))
    course.publish()
    assert course.pull()
    assert course.text("notebooks/core/03_c.ipynb") == notebook("upstream")
    kept = list((course.copy / "notebooks/core").glob("03_c__*.ipynb"))
    assert [file.read_text() for file in kept] == [notebook("mine")]


def test_failed_pull_says_so_beside_the_labs_and_the_next_takes_the_note_away(
    course: Course,
) -> None:
    course.repository.rename(course.repository.with_name("away"))
    assert not course.pull()
    assert "Your own files are untouched" in course.text(collection.NOTE)
    assert course.text("notebooks/core/02_b.ipynb") == notebook("one")
    course.repository.with_name("away").rename(course.repository)
    assert course.pull()
    assert not (course.copy / collection.NOTE).exists()


def test_first_pull_that_fails_leaves_a_folder_and_the_second_fills_it(tmp_path: Path) -> None:
    made = Course(tmp_path)
    assert not made.pull()
    assert (made.copy / collection.NOTE).exists()
    made.publish()
    assert made.pull()
    assert made.text("notebooks/core/02_b.ipynb") == notebook("one")


def test_clone_that_was_cut_off_is_made_again_and_work_in_it_is_kept(course: Course) -> None:
    (course.copy / "notebooks/core/01_a.ipynb").write_text(notebook("mine"))
    for ref in (course.copy / ".git" / "refs").rglob("*"):
        if ref.is_file():
            ref.unlink()
    (course.copy / ".git" / "packed-refs").unlink(missing_ok=True)
    assert course.pull()
    assert course.text("notebooks/core/01_a.ipynb") == notebook("one", "two", "three")
    before = course.copy.with_name("copy-before") / "notebooks/core/01_a.ipynb"
    assert before.read_text() == notebook("mine")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda c: [f.unlink() for f in c.root.rglob("*.ipynb")], "Expected notebooks"),
        (lambda c: (c.repository / "HEAD").write_text("nonsense"), "in .*bare ended with"),
    ],
    ids=["no-notebooks", "broken-repository"],
)
def test_collection_that_cannot_be_published_is_named(
    course: Course, break_it: Callable[[Course], object], words: str
) -> None:
    break_it(course)
    with pytest.raises(collection.NotPublished, match=words):
        course.publish()


def test_git_settings_of_whoever_publishes_do_not_matter(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gitconfig").write_text("[commit]\ngpgsign = true\n[core]\nautocrlf = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    course.write("notebooks/core/02_b.ipynb", notebook("again"))
    commit = course.publish()
    shown = subprocess.run(
        ["git", "show", "--no-patch", "--format=%an %ae", commit],
        cwd=course.repository,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "House on the lake labs@localhost\n"
