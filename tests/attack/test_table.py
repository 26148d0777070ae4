"""The table of the README names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast
NAMED = re.compile(r"`((?:attack|hub|labapps|sandbox|benchmarks)/[\w./]+)`(?: \(`(test_\w+)`\))?")


def missing(text: str, root: Path) -> list[str]:
    """Return what a table names and nobody finds."""
    found = []
    for place, test in NAMED.findall(text):
        file = root / (place if place.startswith("benchmarks") else f"tests/{place}.py")
        if not file.is_file() or test not in file.read_text():
            found.append(f"{place} {test}")
    return found


def test_every_test_of_the_table_is_there() -> None:
    text = (ROOT / "tests/attack/README.md").read_text()
    assert len(NAMED.findall(text)) > 30
    assert missing(text, ROOT) == []


def test_test_that_is_gone_is_found() -> None:
    text = "| `attack/test_gone` | `attack/test_work` (`test_gone`) | `attack/test_table` |"
    assert missing(text, ROOT) == ["attack/test_gone ", "attack/test_work test_gone"]
