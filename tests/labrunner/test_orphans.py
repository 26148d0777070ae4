"""What a replay that was killed has left is ended, or named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labrunner import worker
from labrunner.errors import ReplayBusy

pytestmark = pytest.mark.fast


@pytest.fixture
def left(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that carries the mark of a replay."""
    program = subprocess.Popen(["sleep", "600"], env=os.environ | {worker.MARK: str(tmp_path)})
    yield program
    program.kill()
    program.wait()


def test_orphans_of_this_folder_are_ended_and_no_others(
    left: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    worker.end_orphans(tmp_path / "another")
    assert left.poll() is None
    worker.end_orphans(tmp_path)
    assert not psutil.pid_exists(left.pid)


def test_orphan_that_cannot_be_ended_is_named(
    left: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil.Process, "kill", lambda process: None)
    monkeypatch.setattr(psutil, "wait_procs", lambda *words, **limits: None)
    monkeypatch.setattr(worker, "_ORPHAN_SECONDS", 0)
    with pytest.raises(ReplayBusy, match=f"found {left.pid} alive"):
        worker.end_orphans(tmp_path)
