"""The story of the core workshop: every lab in order against one fresh sandbox, each looked at
afterwards from outside; and a replay that starts and stops its own sandbox."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from labrunner.curriculum import Lab
from tests.labs.after import AFTER
from tests.labs.platform import Platform
from tests.labs.stories.story import CURRICULUM, LAST, chapters, replay, tell

pytestmark = pytest.mark.labs

START = [lab for lab in CURRICULUM.labs if lab.kind != "lab"]
HERE = Path(__file__).parent


def test_every_workshop_has_its_story_and_every_lab_is_looked_at() -> None:
    assert {f"test_{one.id}.py" for one in CURRICULUM.workshops} <= {
        file.name for file in HERE.iterdir()
    }
    assert set(AFTER) == {lab.id for lab in CURRICULUM.labs if lab.kind == "lab"}


@pytest.mark.timeout(1300)
@pytest.mark.parametrize("lab", [*START, *chapters("core")], ids=lambda lab: lab.id)
def test_lab_passes_in_the_story(
    platform: Platform, passed: set[str], lab: Lab, tmp_path: Path
) -> None:
    tell(platform, passed, lab, tmp_path)


def test_lab_started_out_of_order_says_which_is_missing(
    platform: Platform, passed: set[str], tmp_path: Path
) -> None:
    if LAST["core"] not in passed:
        pytest.skip("the last lab of the workshop, which cleans up, did not pass")
    settings = platform.state.parent / "platform.env"
    done = replay(tmp_path / "out", "--only", "core/06", "--platform", str(settings))
    assert done.returncode != 0
    assert "LabMissing: Expected kdcluster" in done.stdout
    assert "Run lab core-05 first" in done.stdout


def test_replay_starts_a_sandbox_of_its_own_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = replay(tmp_path / "out", "--only", "core/01")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "Starting the sandbox" in done.stdout
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(tmp_path) in word for word in process.info["cmdline"] or ())
    ]
    assert left == []
