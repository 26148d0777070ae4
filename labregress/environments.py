"""Throw-away environments: built from a lock with hashes, removed after the run.

uv is taken where it is there: it links files from its cache, so a second build takes seconds and
needs no network. Otherwise Python's own venv and pip do it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from labregress.errors import BuildFailed
from labregress.locks import Lock

__all__ = ["build", "discard", "find_uv", "run_uv"]

STAMP = "labregress.stamp"
NOTHING: Mapping[str, str] = MappingProxyType({})


def find_uv() -> str | None:
    """Return the uv of the PATH or of this environment; nothing when the user wants pip."""
    if os.environ.get("HOUSE_INSTALLER") == "pip":
        return None
    beside = Path(sys.executable).with_name("uv")
    return shutil.which("uv") or (str(beside) if beside.exists() else None)


def build(
    lock: Lock,
    folder: Path,
    *,
    offline: bool = False,
    marks: Mapping[str, str] = NOTHING,
    tell: Callable[[str], None] = print,
) -> Path:
    """Return the Python of the lock's environment, which is built when it is not there whole.

    The installer gets `marks` as variables, so that one that was left alone can be found.
    """
    python = folder / "bin" / "python"
    if (folder / STAMP).is_file() and python.exists():
        return python
    discard(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_suffix(".txt")
    file.write_text(lock.text)
    uv, began = find_uv(), time.monotonic()
    tell(f"Building mlflow {lock.version('mlflow')} ({len(lock.entries)} packages) with "
         f"{'uv' if uv else 'pip'}; a first build downloads up to 400 MB.")  # fmt: skip
    if uv:
        run_uv([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], offline, marks)
        sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python)]
        run_uv([*sync, str(file)], offline, marks)
    else:
        own = dict(os.environ) | dict(marks)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], own)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        index = ["--no-index"] if offline else []
        _run([*pip, *index, "-r", str(file)], own)
    (folder / STAMP).write_text(lock.digest)
    tell(f"Built in {time.monotonic() - began:.1f} s.")
    return python


def discard(folder: Path) -> None:
    """Remove an environment and the lock beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".txt").unlink(missing_ok=True)


def run_uv(words: list[str], offline: bool = False, marks: Mapping[str, str] = NOTHING) -> None:
    """Run uv without letting it fetch an interpreter, or anything when it must stay offline."""
    quiet = {"UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_TIMEOUT": "180"}
    _run(words, dict(os.environ) | quiet | dict(marks) | ({"UV_OFFLINE": "1"} if offline else {}))


def _run(words: list[str], environment: dict[str, str]) -> None:
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise BuildFailed(
            f"Expected `{' '.join(words[:3])} …` to build an environment, found: "
            f"{' '.join(lines[-4:])[:600]}. Without a network, type `labregress run` once with one."
        )
