"""The report: three forms of the same rows, and what is new in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from labregress.errors import BadMatrix
from labregress.matrix import load
from labregress.report import compare, cure_of, read, write

pytestmark = pytest.mark.fast


def row(version: str = "2.0.1", protocol: str = "portable", **more: Any) -> dict[str, Any]:
    plain = {"version": version, "case": "sklearn", "protocol": protocol, "status": "passed",
             "step": "ask", "error": "", "http": 200, "seconds": {"serve": 2.5}}  # fmt: skip
    return plain | more


BROKEN = row(status="failed", step="import", error="No module named 'pkg_resources' <tag>")


@pytest.mark.parametrize(
    ("now", "before", "counts"),
    [
        ([BROKEN], [row()], (1, 0, 0, 0)),
        ([BROKEN], [], (1, 0, 0, 0)),
        ([BROKEN], [BROKEN], (0, 0, 1, 0)),
        ([row()], [BROKEN], (0, 1, 0, 0)),
        ([row()], [row(), row("3.17.2")], (0, 0, 0, 1)),
        ([BROKEN], [row(status="skipped")], (1, 0, 0, 0)),
        ([row()], [row()], (0, 0, 0, 0)),
    ],
)
def test_comparison_counts_what_changed(
    now: list[Any], before: list[Any], counts: tuple[int, ...]
) -> None:
    found = compare(now, before)
    assert tuple(map(len, (found.new, found.mended, found.known, found.gone))) == counts
    assert found.is_good is (counts[0] == 0)


def test_report_has_three_forms_of_the_same_rows(tmp_path: Path) -> None:
    rows = [row(), BROKEN | {"protocol": "split-1x"}, row("3.17.2", status="skipped", error="none")]
    found = write(rows, tmp_path, load().cures)
    assert len(found.new) == 1
    kept = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [one["status"] for one in kept] == ["passed", "failed", "skipped"]
    assert "setuptools<66" in kept[1]["cure"]
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [(one.get("tests"), one.get("failures"), one.get("skipped")) for one in suites] == [
        ("2", "1", "0"),
        ("1", "0", "1"),
    ]
    (failure,) = suites.iter("failure")
    assert "pkg_resources" in str(failure.get("message"))
    page = (tmp_path / "report.html").read_text()
    assert "&lt;tag&gt;" in page
    assert "<tag>" not in page
    assert "1 passed, 1 failed, 1 skipped" in page


def test_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(BadMatrix, match="Expected a report"):
        read(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<66"),
        ("AttributeError: 'FastAPI' object has no attribute 'route'", "fastapi<0.116"),
        ("ValueError: something else", ""),
    ],
)
def test_known_errors_have_a_cure(error: str, cure: str) -> None:
    found = cure_of(error, load().cures)
    assert cure in found
    assert bool(found) is bool(cure)
