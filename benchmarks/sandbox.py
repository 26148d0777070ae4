"""Run a platform for a benchmark, as `labsandbox up` starts it, and leave nothing behind."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["running"]


@contextlib.contextmanager
def running(name: str) -> Iterator[Path]:
    """Start a platform; return its state folder, which is gone with the platform at the end."""
    state = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        _command(state, "up", "--detach")
        yield state
    finally:
        _command(state, "down")
        shutil.rmtree(state, ignore_errors=True)


def _command(state: Path, *words: str) -> None:
    program = [sys.executable, "-c", "from labsandbox.cli import main; main()", *words]
    subprocess.run([*program, "--state", str(state)], check=True, stdout=subprocess.DEVNULL)
