"""The practice copies of labs in the panel: where they are, and which copy opens first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labpanel import facts

pytestmark = pytest.mark.fast


def test_practice_copy_is_offered_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "notebooks/core").mkdir(parents=True)
    for name in ("00_start_here.ipynb", "core/04_train-practice.ipynb"):
        (tmp_path / "notebooks" / name).write_text("{}")
    labs = asyncio.run(facts.Facts(tmp_path).state())["labs"]
    offered = {lab["id"]: lab["practice"] for lab in labs if lab["practice"]}
    assert offered == {"core/04": "notebooks/core/04_train-practice.ipynb"}


@pytest.mark.parametrize("is_practice", [True, False])
def test_class_that_practises_opens_the_practice_copy_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_practice: bool
) -> None:
    monkeypatch.setenv("LABS_PRACTICE", "1" if is_practice else "")
    (tmp_path / "notebooks/core").mkdir(parents=True)
    for name in ("00_start_here", "core/03_lakehouse", "core/04_train", "core/04_train-practice"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text("{}")
    labs = asyncio.run(facts.Facts(tmp_path).state())["labs"]
    first = {lab["id"] for lab in labs if lab["opens_practice"]}
    assert first == ({"core/04"} if is_practice else set())
