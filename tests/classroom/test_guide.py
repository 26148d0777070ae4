"""The instructor's guide: all that it must hold, and that no learner's server gets it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labclass import guide
from labrunner import cli, draft, release
from labrunner.curriculum import load
from labrunner.errors import LabError
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

CURRICULUM = load(ROOT)
WORKSHOPS = [one.id for one in CURRICULUM.workshops]


@pytest.mark.parametrize("workshop", WORKSHOPS)
def test_guide_has_every_lab_with_its_solved_blanks_and_exercise(workshop: str) -> None:
    page = guide.page(CURRICULUM, workshop)
    for lab in CURRICULUM.labs_of(workshop):
        assert f"## {lab.heading}\n\n**Aim.** " in page
        for cell in draft.read(CURRICULUM, lab).written:
            if {"blank", "exercise"} & set(cell.tags):
                written = cell.text.split("# solution\n")[1].split("# end of solution")[0]
                lines = [one for one in written.splitlines() if "# stub:" not in one]
                assert "\n".join(lines).strip() in page
    assert "# solution" not in page
    assert "# blank:" not in page


@pytest.mark.parametrize("workshop", WORKSHOPS)
def test_code_in_the_guide_is_python(workshop: str) -> None:
    page = guide.page(CURRICULUM, workshop)
    blocks = [part.split("```")[0] for part in page.split("```python\n")[1:]]
    assert blocks
    for block in blocks:
        ast.parse("\n".join(line for line in block.splitlines() if not line.startswith("%")))


def test_seconds_come_from_the_replay_of_labs_that_passed(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert guide.seconds_of(report) == {}
    labs = [
        {"lab": "core/01", "seconds": 12.4, "status": "passed"},
        {"lab": "core/02", "seconds": 99.0, "status": "failed"},
    ]
    report.write_text(json.dumps({"labs": labs}))
    page = guide.page(CURRICULUM, "core", guide.seconds_of(report))
    assert "| core/01 Authenticate | 30 | 12 | – |" in page
    assert "| core/02 Deploy a notebook | 60 | not measured | core/01 |" in page


def test_timetable_keeps_the_order_and_leaves_out_what_does_not_fit() -> None:
    labs = CURRICULUM.labs_of("core")
    for blocks in ((210,), (210, 210), (30,)):
        found = guide.sessions(labs, blocks)
        assert [lab for one in found for lab in one] == list(labs)[: sum(map(len, found))]
        for one, most in zip(found, blocks, strict=True):
            assert sum(lab.minutes for lab in one) <= most


def test_session_has_a_break_before_a_lab_that_would_be_too_long_without_one() -> None:
    labs = CURRICULUM.labs_of("core")[:3]
    assert [lab.minutes for lab in labs] == [30, 60, 60]
    assert list(guide._session(labs)) == [
        f"- 0:00 core/01 {labs[0].title} (30 min)",
        f"- 0:30 core/02 {labs[1].title} (60 min)",
        "- 1:30 break (15 min)",
        f"- 1:45 core/03 {labs[2].title} (60 min)",
        "- 2:45 end",
    ]


@pytest.mark.parametrize("workshop", WORKSHOPS)
def test_each_blank_says_its_task_and_its_judge(workshop: str) -> None:
    page = guide.page(CURRICULUM, workshop)
    drafts = [draft.read(CURRICULUM, lab) for lab in CURRICULUM.labs_of(workshop)]
    blanks = [cell for one in drafts for cell in one.written if "blank" in cell.tags]
    assert page.count("**Task.** ") == len(blanks)
    assert "Judged by: nothing" not in page
    assert "glossary.md" not in page, "a link of a lab leads nowhere from here"


def test_command_writes_a_page_that_only_its_owner_reads(tmp_path: Path) -> None:
    place = tmp_path / "guides" / "core.md"
    done = CliRunner().invoke(cli.app, ["guide", "core", "--out", str(place)])
    assert done.exit_code == 0, done.output
    assert place.stat().st_mode & 0o077 == 0
    assert "# From sign-in to a pipeline" in place.read_text("utf-8")
    refused = CliRunner().invoke(cli.app, ["guide", "nonsense", "--out", str(place)])
    assert isinstance(refused.exception, LabError)


def test_guide_is_never_handed_to_learners() -> None:
    assert not release.is_for_learners("build/guide/core.md")
    assert not any("guide" in name for name in release.files(ROOT))
