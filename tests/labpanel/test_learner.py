"""What a learner asks for: prepare, reset; and the platform that is started for them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from labhelpers import progress
from labpanel import learner
from labrunner import sandbox
from labrunner.curriculum import Curriculum
from labrunner.errors import LabError, PlatformFailed
from labrunner.replay import Plan, replay
from tests.labrunner.conftest import FAILS, PASSES, Checkout

pytestmark = pytest.mark.labs

NOTES = """\
#!/bin/sh
echo "$1" >> "$(dirname "$3")/calls"
[ "$1" != up ] || echo '{"state": "s", "already": false, "environment": {"EZMERAL_URL": "https://d"}}'
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "labsandbox"
    program.write_text(NOTES)
    program.chmod(0o755)
    monkeypatch.setattr(sandbox, "command", lambda: str(program))
    return program


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("EZMERAL_URL", raising=False)


def three(checkout: Checkout) -> Curriculum:
    return checkout(a=(PASSES, []), b=(PASSES, ["a"]), c=(PASSES, ["b"]))


def test_prepare_replays_only_what_is_missing(checkout: Checkout) -> None:
    labs = three(checkout)
    progress.record("toy/a", "The rows are counted", True)
    console = Console(file=io.StringIO(), width=120)
    assert learner.prepare(labs, labs.get("toy/c"), console) == 0
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Before toy/c: toy/b." in said
    assert progress.load()["toy/b"]["The rows are counted"]["passed"]
    assert learner.prepare(labs, labs.get("toy/c"), console) == 0
    assert "Nothing is missing" in console.file.getvalue()  # type: ignore[attr-defined]


def test_reset_forgets_the_lab(checkout: Checkout) -> None:
    labs = checkout(a=(FAILS, []))
    progress.record("toy/a", "The sky is green", False)
    assert learner.reset(labs, labs.get("toy/a"), Console(file=io.StringIO())) == 0
    assert "toy/a" not in progress.load()


REMOVES = """
# %% [markdown]
# ## Clean up

# %%
import pathlib
if finished:
    pathlib.Path("mine.txt").unlink()
"""


def test_run_all_keeps_what_reset_removes(checkout: Checkout) -> None:
    labs = checkout(a=(REMOVES, []))
    lab = labs.get("toy/a")
    path = labs.source(lab)
    text = path.read_text().replace("\ncity:", "\nfinished: bool = False  # remove it?\ncity:")
    path.write_text(text.replace("# %% tags", "# %% [markdown]\n# ## Parameters\n\n# %% tags", 1))
    mine = labs.notebook(lab).parent / "mine.txt"
    mine.write_text("work")
    plan = Plan((lab,), labs.root / "out")
    assert [one.status for one in replay(labs, plan, Console(file=io.StringIO()))] == ["passed"]
    assert mine.is_file()
    assert learner.reset(labs, lab, Console(file=io.StringIO())) == 0
    assert not mine.exists()


def test_lab_that_needs_a_platform_says_how_to_get_one(checkout: Checkout) -> None:
    labs = checkout(a=(PASSES, []))
    lab = replace(labs.labs[0], platform=True)
    with pytest.raises(LabError, match="labsandbox up --detach"):
        learner.reset(labs, lab, Console(file=io.StringIO()))


def test_sandbox_that_does_not_start_is_told_and_taken_down(tmp_path: Path, fake: Path) -> None:
    fake.write_text(NOTES + '[ "$1" != up ] || { echo "no ports left" >&2; exit 4; }\n')
    with (
        pytest.raises(PlatformFailed, match=r"status 4: no ports left"),
        sandbox.running(tmp_path / "s"),
    ):
        pass
    assert (tmp_path / "calls").read_text().split() == ["up", "down"]


def test_sandbox_is_taken_down_after_an_error_inside(tmp_path: Path, fake: Path) -> None:
    with pytest.raises(ZeroDivisionError), sandbox.running(tmp_path / "s"):
        raise ZeroDivisionError
    assert (tmp_path / "calls").read_text().split() == ["up", "down"]


def test_sandbox_is_kept_when_asked(tmp_path: Path, fake: Path) -> None:
    with sandbox.running(tmp_path / "s", keep=True) as found:
        assert found == {"EZMERAL_URL": "https://d"}
    assert (tmp_path / "calls").read_text().split() == ["up"]


def test_sandbox_that_says_no_settings_is_told_and_taken_down(tmp_path: Path, fake: Path) -> None:
    fake.write_text(NOTES.replace("environment", "nonsense"))
    with (
        pytest.raises(PlatformFailed, match="Expected the settings of a platform"),
        sandbox.running(tmp_path / "s"),
    ):
        pass
    assert (tmp_path / "calls").read_text().split() == ["up", "down"]


def test_settings_file_without_a_platform_is_refused(tmp_path: Path) -> None:
    (tmp_path / "platform.env").write_text("X=1\n")
    with pytest.raises(PlatformFailed, match="Expected EZMERAL_URL"):
        sandbox.settings_of(tmp_path / "platform.env")
    with pytest.raises(PlatformFailed, match=r"nowhere\.env"):
        sandbox.settings_of(tmp_path / "nowhere.env")
