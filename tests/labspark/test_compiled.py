"""What numba compiles of a package is kept for the next process; without a place, made anew."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

MODULE = "import numba\n\n@numba.njit(parallel=True)\ndef double(x):\n    return 2 * x\n"
# Root may write everywhere, unless this right is taken from it.
MODES_COUNT = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override"]
ONE_CORE = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
CODE = """
import warnings
import numba, numpy, tiny, tiny.one
from labspark.compiled import keep_compiled
keep_compiled(tiny)
warnings.warn("'where' used without 'out', expect unitialized memory", UserWarning)
total = tiny.one.double(numpy.arange(4.0)).sum()
hits = sum(tiny.one.double.stats.cache_hits.values())
print(numba.get_num_threads(), hits, total)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a small package that has one compiled function, and a broken module."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "__init__.py").write_text("")
    (tmp_path / "tiny" / "one.py").write_text(MODULE)
    (tmp_path / "tiny" / "other.py").write_text("import a_library_that_is_not_installed\n")
    return tmp_path


def run(folder: Path, before: str = "", after: str = "", **more: str) -> list[str]:
    """Return threads, functions taken from the cache, and a sum, in a new process."""
    paths = f"{ROOT}{os.pathsep}{folder}"
    done = subprocess.run(
        [*MODES_COUNT, sys.executable, "-W", "error", "-c", before + CODE + after],
        env={**os.environ, "LABS_CACHE": str(folder / "cache"), "PYTHONPATH": paths, **more},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


def test_second_process_takes_from_the_cache_what_the_first_compiled(folder: Path) -> None:
    assert run(folder) == ["1", "0", "12.0"]
    assert list((folder / "cache" / "numba").rglob("*.nbi")), "compiled code was kept"
    assert run(folder) == ["1", "1", "12.0"]


def test_second_call_in_a_process_does_nothing_again(folder: Path) -> None:
    """Spark calls it for each group: a thousand times, 30 ms each, were half of the whole time."""
    counted = """
import os
seen = []
real = os.makedirs
os.makedirs = lambda *words, **more: (seen.append(words), real(*words, **more))[1]
"""
    again = (
        "seen.clear()\nkeep_compiled(tiny)\nprint(len(seen), tiny.one.double.stats.cache_path)\n"
    )
    *_, count, place = run(folder, counted, after=again)
    assert count == "0"
    assert place.startswith(str(folder / "cache" / "numba"))


def test_cache_that_is_no_folder_changes_nothing(folder: Path) -> None:
    (folder / "cache").write_text("not a folder")
    assert run(folder) == ["1", "0", "12.0"]


def test_spoiled_cache_is_made_anew(folder: Path) -> None:
    run(folder)
    for file in (folder / "cache" / "numba").rglob("*.nb[ic]"):
        file.write_bytes(b"spoiled")
    assert run(folder) == ["1", "0", "12.0"]
    assert run(folder) == ["1", "1", "12.0"], "and kept again"


def test_cache_that_cannot_be_written_changes_nothing(folder: Path) -> None:
    kept = folder / "cache" / "numba"
    run(folder)
    files = {file: file.read_bytes() for file in kept.rglob("*.nb[ic]")}
    with read_only(kept):
        assert run(folder) == ["1", "0", "12.0"], "numba takes no code from where it may not write"
    assert {file: file.read_bytes() for file in kept.rglob("*.nb[ic]")} == files


@pytest.mark.nightly
def test_code_of_another_processor_is_not_run(folder: Path) -> None:
    """Numba keeps for which processor the code is; a home on a shared disk has seen others."""
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert run(folder, **other) == ["1", "0", "12.0"]
    assert run(folder) == ["1", "0", "12.0"], "the other one's code is left alone"
    assert run(folder) == ["1", "1", "12.0"]


@pytest.mark.nightly
def test_one_thread_whatever_the_environment_asks_for(folder: Path) -> None:
    assert run(folder, NUMBA_NUM_THREADS="8") == ["1", "0", "12.0"]
    assert run(folder, ONE_CORE) == ["1", "1", "12.0"]


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Take the right to write from a folder and all that is in it."""
    modes = {path: path.stat().st_mode for path in (place, *place.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
