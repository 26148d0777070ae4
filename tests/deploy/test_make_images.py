"""All images are built from Debian's packages and the package index, tried, and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(4 * 3600)]
FREE = 15 * 10**9


@pytest.fixture
def storage() -> Path:
    """A folder beside the checkout: a tmpfs would not hold the images."""
    missing = [name for name in ("buildah", "podman", "mmdebstrap") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"this needs root and {' '.join(missing) or 'nothing else'}")
    if shutil.disk_usage(ROOT).free < FREE:
        pytest.skip("this needs 15 GB of disk")
    return ROOT / "build" / "images"


def test_all_images_are_built_tried_and_removed(storage: Path) -> None:
    """The members of tests/labapps run in them, as root and as an ordinary user."""
    build = [sys.executable, "-I", str(ROOT / "deploy" / "images" / "build.py"), "--suite"]
    done = subprocess.run([*build, "--storage", str(storage)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "All images were built and tried." in done.stdout
    assert done.stdout.count(" GB\n") >= 9
    assert not storage.exists()
