"""What is kept of a checkpoint, and that no result is lost when two notebooks are open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labhelpers import progress

pytestmark = pytest.mark.fast


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    return tmp_path


def test_failures_in_a_row_start_again_and_all_failures_add_up(home: Path) -> None:
    said = [progress.record("core/01", "It is there", ok) for ok in (False, False, True, False)]
    entry = progress.load()["core/01"]["It is there"]
    assert said == [1, 2, 0, 1]
    assert (entry["passed"], entry["failures"], entry["failed"]) == (False, 1, 3)
    assert entry["first"] <= entry["at"]


def test_file_of_an_older_collection_is_read_on(home: Path) -> None:
    old = {
        "core/01": {"It is there": {"passed": False, "failures": 2, "at": "2026-01-01T00:00:00"}}
    }
    (home / "progress.json").write_text(json.dumps(old))
    assert progress.record("core/01", "It is there", False) == 3
    assert progress.load()["core/01"]["It is there"]["failed"] == 3


def test_two_notebooks_at_once_lose_no_result(home: Path) -> None:
    program = "import sys; from labhelpers.progress import record\n"
    program += "for n in range(60): record(sys.argv[1], f'checkpoint {n}', True)"
    words = [sys.executable, "-c", program]
    both = [subprocess.Popen([*words, lab]) for lab in ("core/01", "core/02")]
    assert [one.wait(60) for one in both] == [0, 0]
    assert {lab: len(met) for lab, met in progress.load().items()} == {"core/01": 60, "core/02": 60}


def test_what_was_found_and_the_hint_that_was_shown_are_kept_until_it_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    hints = ("Look there.", "Usually it is this.")
    kept = []
    for passed in (False, False, False, True):
        progress.record("core/01", "It is there", passed, "nothing" * 200, hints)
        kept.append(progress.load()["core/01"]["It is there"])
    assert [one["hint"] for one in kept] == [*hints, hints[-1], ""]
    assert kept[0]["found"].startswith("nothing")
    assert [len(one["found"]) for one in kept] == [600, 600, 600, 0]
