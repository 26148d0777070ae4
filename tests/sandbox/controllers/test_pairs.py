"""Each controller decides as recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import pairs

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("path", pairs.files(), ids=lambda path: path.stem)
def test_controller_decides_as_recorded(path: Path) -> None:
    pair = json.loads(path.read_text())
    assert pairs.decide(pair) == pair["actions"]


@pytest.mark.parametrize("path", pairs.files(), ids=lambda path: path.stem)
def test_controller_does_not_change_what_it_sees(path: Path) -> None:
    pair = json.loads(path.read_text())
    before = json.dumps(pair["seen"])
    pairs.decide(pair)
    assert json.dumps(pair["seen"]) == before


def test_pairs_cover_every_decision() -> None:
    covered = {json.loads(path.read_text())["controller"] for path in pairs.files()}
    assert covered == set(pairs.DECISIONS)
