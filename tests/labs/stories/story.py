"""How a story is told: replay a lab by the command, then look at the platform from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from labrunner.curriculum import Lab, load
from tests.labs.after import AFTER
from tests.labs.platform import Platform, shell_blocks
from tests.repo.tree import ROOT

__all__ = ["LAST", "chapters", "replay", "tell", "told"]

CURRICULUM = load(ROOT)
LAST = {one.id: CURRICULUM.labs_of(one.id)[-1].id for one in CURRICULUM.workshops}
PROGRAM = str(Path(sys.executable).with_name("labs"))


def replay(out: Path, *words: str, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
    """Run `labs replay` as a user would."""
    return subprocess.run(
        [PROGRAM, "replay", "--out", str(out), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def chapters(workshop: str) -> list[Lab]:
    """Return the labs of a workshop in order, and before them what they need of others."""
    wanted = {lab.id for lab in CURRICULUM.labs_of(workshop)}
    while more := {n for lab in CURRICULUM.labs if lab.id in wanted for n in lab.needs} - wanted:
        wanted |= more
    return [lab for lab in CURRICULUM.labs if lab.id in wanted]


def told(workshop: str, at_night: Collection[str] = ()) -> Callable[..., None]:
    """Make the test of a workshop; the chapters `at_night` are not told on every push."""
    parameters = [
        pytest.param(lab, id=lab.id, marks=[pytest.mark.nightly] if lab.id in at_night else [])
        for lab in chapters(workshop)
    ]

    @pytest.mark.timeout(1300)
    @pytest.mark.parametrize("lab", parameters)
    def story(platform: Platform, passed: set[str], lab: Lab, tmp_path: Path) -> None:
        tell(platform, passed, lab, tmp_path)

    return story


def tell(platform: Platform, passed: set[str], lab: Lab, folder: Path) -> None:
    """Replay one lab, and look at what it left."""
    if broken := set(lab.needs) - passed:
        pytest.skip(f"needs {', '.join(sorted(broken))}, which did not pass")
    settings = platform.state.parent / "platform.env"
    done = replay(folder / "out", "--only", lab.id, "--platform", str(settings))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["labs"][0]["checkpoints"], "every lab proves itself"
    if lab.kind == "lab":
        AFTER[lab.id](platform)
    if lab.id not in LAST.values():  # a last lab cleans up what its lines would look at
        _type_in_a_shell(platform, lab)
    passed.add(lab.id)


def _type_in_a_shell(platform: Platform, lab: Lab) -> None:
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
