"""A checkpoint's hints get stronger with every failure, also where nothing can be written down."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labhelpers import progress
from labhelpers.checkpoint import CheckFailed, begin, check

pytestmark = pytest.mark.fast

HINTS = ["Look there.", "Usually it is that.", "Type this."]


@pytest.fixture(autouse=True)
def learner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("LABS_HOME", str(tmp_path / "home"))
    begin("core/test")
    yield tmp_path / "home"
    begin("")
    progress._unsaved.clear()


def fail() -> str:
    with pytest.raises(CheckFailed) as failed:
        check("It is there", lambda: False, hint=HINTS)
    return str(failed.value.record["hint"])


def test_hint_gets_stronger_with_every_failure() -> None:
    assert [fail() for _ in range(4)] == [*HINTS, HINTS[-1]]
    check("It is there", lambda: True, hint=HINTS)
    assert fail() == HINTS[0], "after a success the first hint comes first"


ON_A_FULL_DISK = """
import json, resource, sys
from labhelpers.checkpoint import CheckFailed, begin, check

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # pipes have no size, so the output still leaves
begin("core/test")
for _ in range(3):
    try:
        check("It is there", lambda: False, hint=json.loads(sys.argv[1]))
    except CheckFailed as failed:
        print(json.dumps(failed.record["hint"]))
"""


def test_hint_gets_stronger_although_the_home_is_full(learner: Path) -> None:
    """In a child: a limit of pytest's own process would stop its report as well."""
    child = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, json.dumps(HINTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    hints = [line for line in child.stdout.splitlines() if line.startswith('"')]
    assert [json.loads(line) for line in hints] == HINTS
    assert child.stderr.count("Your progress is kept in this kernel only") == 1
    assert "set LABS_HOME to another folder" in child.stderr
    assert list(learner.iterdir()) == [], "no half-written file is left"


def test_progress_is_written_as_soon_as_there_is_room(learner: Path) -> None:
    progress._unsaved[learner] = {"core/test": {"It is there": {"passed": False, "failures": 2}}}
    assert fail() == HINTS[2]
    assert progress._unsaved == {}
    assert progress.load()["core/test"]["It is there"]["failures"] == 3


def test_error_of_a_condition_is_its_first_words_and_no_page() -> None:
    def refused() -> None:
        raise ConnectionError(
            "Reason: gone\nHTTP response headers: HTTPHeaderDict({...})" + "x" * 900
        )

    with pytest.raises(CheckFailed) as failed:
        check("It is there", refused, hint=HINTS)
    assert failed.value.record["saw"] == "ConnectionError: Reason: gone"


def test_failure_is_told_once_in_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    try:
        shell.run_cell("from labhelpers import check\ncheck('It is there', False, hint='Look.')")
    finally:
        InteractiveShell.clear_instance()
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("Look.") == 1, shown
