"""The list of tests with a second chance stays short, true and dated."""

from __future__ import annotations

import ast
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quarantine import FILE, MOST, Entry, read
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

ENTRIES = read(FILE.read_text("utf-8"))
OLDEST = datetime.timedelta(days=60)


def functions(path: Path) -> set[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def complaints(entries: list[Entry], today: datetime.date) -> list[str]:
    """Return what is wrong with the list."""
    found = [f"{len(entries)} entries; at most {MOST}"] if len(entries) > MOST else []
    for entry in entries:
        file, _, name = entry.id.partition("[")[0].partition("::")
        if not (ROOT / file).is_file() or name.split("::")[-1] not in functions(ROOT / file):
            found.append(f"{entry.id}: no such test")
        if len(entry.reason.split()) < 5:
            found.append(f"{entry.id}: say what is known of its failures")
        if today - entry.since > OLDEST:
            found.append(f"{entry.id}: listed since {entry.since}; mend it or drop it")
    return found


def test_list_is_short_true_and_dated() -> None:
    assert complaints(ENTRIES, datetime.datetime.now(datetime.UTC).date()) == []


def test_bad_entries_are_found() -> None:
    today = datetime.date(2026, 11, 29)
    here = "tests/repo/test_quarantine.py::test_bad_entries_are_found"
    why = "a sentence of at least five words"
    assert complaints([Entry(here, why, today), Entry(here + "[one]", why, today)], today) == []
    assert complaints([Entry(here, "flaky", today)], today)
    assert complaints([Entry(here + "x", why, today)], today)
    assert complaints([Entry("tests/gone.py::test_x", why, today)], today)
    assert complaints([Entry(here, why, datetime.date(2026, 1, 1))], today)
    assert complaints([Entry(here, why, today)] * (MOST + 1), today)


@pytest.mark.parametrize("failed", [["tests/a.py::test_new"], []], ids=["unlisted", "no name"])
def test_any_other_failure_is_red_at_once(tmp_path: Path, failed: list[str]) -> None:
    kept = tmp_path / ".pytest_cache" / "v" / "cache" / "lastfailed"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps(dict.fromkeys(failed, True)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.quarantine"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert all(name in done.stderr for name in failed)
