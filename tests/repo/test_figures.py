"""The page of figures is what the accepted runs say, and says what was missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report

pytestmark = pytest.mark.fast


def test_page_is_what_the_accepted_runs_say() -> None:
    kept = json.loads(report.ACCEPTED.read_text("utf-8"))
    assert report.page(kept) == report.PAGE.read_text("utf-8")


def test_accepted_run_replaces_its_own_rows_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(report, "ACCEPTED", tmp_path / "accepted.json")
    monkeypatch.setattr(report, "PAGE", tmp_path / "README.md")
    for name, value in (("one", 1.0), ("two", 2.0), ("one", 30.0)):
        report.save(name, [report.Figure("rate", value, "x", "<= 10", value <= 10, "a peer", 3)])
        report.accept({name: report.read()[name]})
    rows = [line for line in report.PAGE.read_text().splitlines() if "| rate |" in line]
    assert [row.split(" | ")[2:5] for row in rows] == [
        ["30 x", "<= 10", "**no**"],
        ["2 x", "<= 10", "yes"],
    ]
