"""Each recorded pass still leads to the recorded plan."""

from __future__ import annotations

import json

import pytest

from .golden import FOLDER, LIVES, record

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", LIVES)
def test_recorded_life_is_lived_again(name: str) -> None:
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    found = record(LIVES[name])
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one == other, f"pass {number} of {name}"
