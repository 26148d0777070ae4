"""The whole story: every lab of labs.toml in order against one fresh sandbox, each looked at
afterwards from outside; and a replay that starts and stops its own sandbox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labrunner import sandbox
from labrunner.curriculum import Lab, load
from tests.labs.after import AFTER
from tests.labs.platform import Platform, shell_blocks
from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

LABS = load(ROOT).labs
PROGRAM = str(Path(sys.executable).with_name("labs"))


def replay(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "replay", "--out", str(out), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
    )


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("story")
    with sandbox.running(folder / "state") as settings:
        lines = [f"{name}={value!r}" for name, value in settings.items()]
        (folder / "platform.env").write_text("\n".join(lines))
        yield Platform(folder / "state", settings)


@pytest.fixture(scope="module")
def passed() -> set[str]:
    """Collect the labs that passed, for those that need them."""
    return set()


@pytest.mark.timeout(1300)
@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_lab_passes_in_the_story(
    platform: Platform, passed: set[str], lab: Lab, tmp_path: Path
) -> None:
    if broken := set(lab.needs) - passed:
        pytest.skip(f"needs {', '.join(sorted(broken))}, which did not pass")
    settings = platform.state.parent / "platform.env"
    done = replay(tmp_path / "out", "--only", lab.id, "--platform", str(settings))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["labs"][0]["checkpoints"], "every lab proves itself"
    if lab.kind == "lab":
        AFTER[lab.id](platform)
    if lab.id != LABS[-1].id:  # the last lab cleans up what its lines would look at
        type_in_a_shell(platform, lab)
    passed.add(lab.id)


def type_in_a_shell(platform: Platform, lab: Lab) -> None:
    """Run the kubectl and curl lines that stand beside the steps, where these programs are."""
    if shutil.which("kubectl") is None or shutil.which("curl") is None:
        return
    for block in shell_blocks(lab.file):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            capture_output=True,
            text=True,
            env=os.environ | platform.settings,
            timeout=60,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_lab_started_out_of_order_says_which_is_missing(
    platform: Platform, passed: set[str], tmp_path: Path
) -> None:
    if LABS[-1].id not in passed:
        pytest.skip("the last lab, which cleans up, did not pass")
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
