"""A checkpoint's hints get stronger with every failure, also where nothing can be written down."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from labhelpers import progress
from labhelpers.check import CheckFailed, begin, check

pytestmark = pytest.mark.fast

HINTS = ["Look there.", "Usually it is that.", "Type this."]


@pytest.fixture(autouse=True)
def learner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("LABS_HOME", str(tmp_path / "home"))
    begin("core/test")
    yield tmp_path / "home"
    begin("")
    progress._unsaved.clear()


@pytest.fixture
def full() -> Iterator[None]:
    """Let no file grow, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fail() -> str:
    with pytest.raises(CheckFailed) as failed:
        check("It is there", lambda: False, hint=HINTS)
    return str(failed.value.record["hint"])


def test_hint_gets_stronger_with_every_failure() -> None:
    assert [fail() for _ in range(4)] == [*HINTS, HINTS[-1]]
    check("It is there", lambda: True, hint=HINTS)
    assert fail() == HINTS[0], "after a success the first hint comes first"


def test_hint_gets_stronger_although_the_home_is_full(
    learner: Path, full: None, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [fail() for _ in range(3)]
    told = capsys.readouterr().err
    assert said == HINTS
    assert told.count("Your progress is kept in this kernel only") == 1
    assert "set LABS_HOME to another folder" in told
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
