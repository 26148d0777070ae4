"""The reconciler's plans are those of its snapshots; a wanted change writes the snapshots anew."""

from __future__ import annotations

import json

import pytest

from .snapshots import FOLDER, SCENARIOS, take

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", SCENARIOS)
def test_plans_equal_their_snapshot(name: str) -> None:
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    found = take(SCENARIOS[name])
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one == other, f"pass {number} of {name}"
