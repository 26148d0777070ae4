"""Every picture is drawn from its source, byte by byte, and carries its message."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labrunner import picture
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

SOURCES = sorted((ROOT / "Pictures" / "_src").glob("*.toml"))


def stale(root: Path) -> list[str]:
    """Return the pictures that are not what their source gives, or have no source."""
    sources = {path.stem: path for path in (root / "Pictures" / "_src").glob("*.toml")}
    drawn = {path.stem: path for path in (root / "Pictures").glob("*.svg")}
    return sorted(
        name
        for name in sources.keys() | drawn.keys()
        if name not in sources
        or name not in drawn
        or drawn[name].read_text("utf-8") != picture.draw(sources[name])
    )


def test_pictures_are_what_their_sources_give() -> None:
    assert stale(ROOT) == []


def test_edited_or_missing_or_sourceless_picture_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "Pictures", tmp_path / "Pictures")
    edited, missing = (tmp_path / "Pictures" / f"{path.stem}.svg" for path in SOURCES[:2])
    edited.write_text(edited.read_text("utf-8") + " ", "utf-8")
    missing.unlink()
    (tmp_path / "Pictures" / "stray.svg").write_text("<svg/>")
    assert stale(tmp_path) == sorted([edited.stem, missing.stem, "stray"])


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_picture_says_its_message_to_those_who_do_not_see_it(source: Path) -> None:
    text = picture.draw(source)
    assert "role='img'" in text
    assert "<desc id='m'>" in text
