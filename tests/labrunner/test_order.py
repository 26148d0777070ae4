"""In which order a replay runs its labs, where two work on the same thing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from labrunner import replay
from labrunner.curriculum import load
from labrunner.errors import BadCurriculum
from labrunner.replay import Plan
from tests.labrunner.conftest import FAILS, PASSES, Checkout

pytestmark = pytest.mark.labs


def test_lab_waits_for_the_one_it_comes_after_and_runs_although_that_one_failed(
    checkout: Checkout, tmp_path: Path
) -> None:
    listed = checkout(a=(FAILS, []), b=(PASSES, [])).root / "labs.toml"
    listed.write_text(listed.read_text() + 'after = ["toy/a"]\n')
    labs, said = load(listed.parent), io.StringIO()
    plan = Plan(labs.labs, tmp_path / "out", jobs=2)
    outcomes = replay.replay(labs, plan, Console(file=said, width=100))
    assert [found.status for found in outcomes] == ["failed", "passed"]
    lines = [line.split()[:2] for line in said.getvalue().splitlines() if "toy/" in line]
    assert lines.index(["✗", "toy/a"]) < lines.index(["▸", "toy/b"])


def test_lab_comes_after_one_that_stands_above_it(checkout: Checkout) -> None:
    listed = checkout(a=(PASSES, [])).root / "labs.toml"
    listed.write_text(listed.read_text() + 'after = ["toy/z"]\n')
    with pytest.raises(BadCurriculum, match="toy/z"):
        load(listed.parent)
