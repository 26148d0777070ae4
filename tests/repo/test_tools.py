"""Ruff and mypy find nothing; a doctest of every package runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

pytestmark = pytest.mark.labs

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["lint", "format", "types"],
)
@pytest.mark.timeout(600)
def test_tool_finds_nothing(command: list[str]) -> None:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_ruff_rejects_bad_code(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import os\nx = [ 1 ]\n")
    config = ["--config", str(ROOT / "pyproject.toml")]
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([BIN / "ruff", *words, *config, tmp_path], capture_output=True)
        assert done.returncode == 1
