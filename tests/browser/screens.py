"""The README's pictures: `python -m tests.browser.screens` runs the tests and keeps what is seen.

A picture is written with 128 colours, which a screen of text does not miss: a tenth of the bytes.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.repo.tree import ROOT

FOLDER = ROOT / "Pictures" / "screens"
COLOURS = 128


def write(screenshot: bytes, path: Path) -> None:
    """Write a screenshot as a small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(screenshot)) as full:
        full.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    os.environ["LABS_SCREENS"] = str(FOLDER)
    sys.exit(pytest.main(["tests/browser", "-q", *sys.argv[1:]]))
