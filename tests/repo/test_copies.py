"""What two rooms need that may not import each other stands twice, and is the same to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

COPIES = [("labapps/web/crowd.py", "labsandbox/crowd.py")]


def differs(root: Path, one: str, other: str) -> bool:
    return (root / one).read_bytes() != (root / other).read_bytes()


@pytest.mark.parametrize(("one", "other"), COPIES)
def test_copies_of_two_rooms_are_the_same(one: str, other: str) -> None:
    assert not differs(ROOT, one, other), f"Change {one} and {other} together."


def test_copy_that_drifted_is_found(tmp_path: Path) -> None:
    for name, text in (("a.py", "x = 1\n"), ("b.py", "x = 2\n")):
        (tmp_path / name).write_text(text)
    assert differs(tmp_path, "a.py", "b.py")
