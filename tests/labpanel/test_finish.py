"""The end of a workshop: evidence from progress and notebooks, a zip without secrets, a survey."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labhelpers import progress
from labpanel import evidence, standing, survey, takeaway
from labrunner import cli
from labrunner.curriculum import load
from labrunner.errors import LabError
from labspark import place
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

CURRICULUM = load(ROOT)
LABS = CURRICULUM.labs_of("core")
PASSWORD = "a-password-of-this-run"


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a learner who ran lab core/01 and solved all of it."""
    monkeypatch.setenv("LABS_FOLDER", str(tmp_path / "labs"))
    monkeypatch.setenv("PROJECT_REPO", str(tmp_path / "repository"))
    monkeypatch.setenv("EZMERAL_USER", "ann")
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    monkeypatch.delenv("LABSANDBOX_STATE", raising=False)
    for lab in LABS[:2]:
        copied = tmp_path / "labs" / "notebooks" / f"{lab.file}.ipynb"
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CURRICULUM.notebook(lab), copied)
    for name in standing.checkpoints(CURRICULUM.notebook(LABS[0])):
        progress.record("core/01", name, False, "nothing")
        progress.record("core/01", name, True, f"seven of {name}")
    return tmp_path / "labs" / "notebooks"


def printed(notebook: Path, text: str) -> None:
    """Let the first code cell of a notebook show a text, as a run of it would."""
    content = json.loads(notebook.read_text("utf-8"))
    cell = next(one for one in content["cells"] if one["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
    notebook.write_text(json.dumps(content))


def test_evidence_says_what_each_checkpoint_saw_and_when(notebooks: Path) -> None:
    found = evidence.gather(CURRICULUM, "core", notebooks)
    first, second = found.parts[:2]
    assert first.is_done
    assert not second.passed
    assert not found.is_complete
    assert found.total == sum(len(part.checkpoints) for part in found.parts) > 30
    assert (first.checkpoints[0].failed, first.checkpoints[0].at[:2]) == (1, "20")
    assert first.checkpoints[0].saw == f"seven of {first.checkpoints[0].name}"
    assert first.notebook == first.released
    assert not found.parts[2].notebook
    assert len(first.built) >= 2
    assert "**" not in "".join(first.built)
    page = evidence.page(found)
    assert found.digest in page
    assert "not complete yet" in page
    assert f"seven of {first.checkpoints[0].name}" in page
    assert found.digest == hashlib.sha256(found.record.encode()).hexdigest()


@pytest.mark.parametrize("workshop", [one.id for one in CURRICULUM.workshops])
def test_every_lab_says_what_was_built(workshop: str, notebooks: Path) -> None:
    for part in evidence.gather(CURRICULUM, workshop, notebooks).parts:
        assert len(part.built) >= 2, part.lab
        assert "](" not in "".join(part.built), "a link of the lab leads nowhere from here"


def test_failure_after_a_pass_is_evidence_of_nothing(notebooks: Path) -> None:
    name = evidence.gather(CURRICULUM, "core", notebooks).parts[0].checkpoints[0].name
    progress.record("core/01", name, False, "gone")
    part = evidence.gather(CURRICULUM, "core", notebooks).parts[0]
    assert not part.is_done
    assert part.checkpoints[0].saw == ""


def test_take_away_holds_outputs_pages_and_own_files(notebooks: Path, tmp_path: Path) -> None:
    printed(notebooks / f"{LABS[0].file}.ipynb", "four thousand trips")
    own = place.project_repo() / "code" / "ann"
    own.mkdir(parents=True)
    (own / "train.py").write_text("print(1)\n")
    (own / "huge.bin").write_bytes(bytes(takeaway.LARGEST + 1))
    (own / "token.txt").write_text(PASSWORD)
    (own / "link").symlink_to("/etc/hostname")
    (place.project_repo() / "code" / "ben").mkdir()
    (place.project_repo() / "code" / "ben" / "other.py").write_text("")
    found = evidence.gather(CURRICULUM, "core", notebooks)
    zipped = takeaway.write(CURRICULUM, found, notebooks, tmp_path / "out.zip")
    with zipfile.ZipFile(zipped.path) as archive:
        names = {name.removeprefix(f"{takeaway.ROOM}/") for name in archive.namelist()}
        page = archive.read(f"{takeaway.ROOM}/pages/01_authenticate.html").decode()
        record = archive.read(f"{takeaway.ROOM}/evidence.json")
        words = archive.read(f"{takeaway.ROOM}/README.txt").decode()
    assert "four thousand trips" in page
    assert hashlib.sha256(record).hexdigest() == found.digest
    assert {"notebooks/core/01_authenticate.ipynb", "files/code/ann/train.py"} <= names
    assert {"Pictures/core-01-authenticate.svg", "notebooks/glossary.md"} <= names
    assert 'href="../notebooks/glossary.md#session"' in page
    assert 'href="../glossary.md' not in page, "pages/ has no glossary beside it"
    assert "pages/02_deploy_notebook.html" not in names, "it was not run"
    assert not {one for one in names if "huge" in one or "token" in one or "link" in one}
    assert not {one for one in names if "other.py" in one}
    assert "huge.bin: 2.0 MB is too large" in words
    assert "token.txt: it holds a secret of this run" in words
    assert PASSWORD not in words


def test_notebook_that_shows_a_secret_stays_out(notebooks: Path, tmp_path: Path) -> None:
    printed(notebooks / f"{LABS[0].file}.ipynb", f"it is {PASSWORD}")
    found = evidence.gather(CURRICULUM, "core", notebooks)
    zipped = takeaway.write(CURRICULUM, found, notebooks, tmp_path / "out.zip")
    assert list(zipped.left) == ["notebooks/core/01_authenticate.ipynb"]
    assert "notebooks/core/02_deploy_notebook.ipynb" in zipped.names
    assert not any(PASSWORD.encode() in text for text in contents(zipped.path))


def contents(path: Path) -> list[bytes]:
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


@pytest.mark.parametrize(
    ("useful", "pace", "change"),
    [(0, "right", ""), ("5", "right", ""), (5, "odd", ""), (5, "right", 1)],
)
def test_survey_takes_answers_only(useful: object, pace: object, change: object) -> None:
    with pytest.raises(LabError, match="from 1 to 5"):
        survey.keep("core", useful, pace, change)
    assert survey.load() == {}


def test_command_writes_the_zip_and_asks(notebooks: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli.app,
        ["finish", "core", "--out", str(tmp_path / "mine.zip"), "--survey"],
        input="4\nright\nmore maps\n",
    )
    assert done.exit_code == 0, done.output
    assert zipfile.is_zipfile(tmp_path / "mine.zip")
    kept = survey.load()["core"]
    assert (kept["useful"], kept["pace"], kept["change"]) == (4, "right", "more maps")
    assert (place.home() / survey.FILE).stat().st_mode & 0o77 == 0
