"""Running cells: what a failed step says, what is kept, and that nothing is left, also after -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from labhelpers.deadline import wait
from labregress import environments, orphans
from labregress.errors import BuildFailed, RegressError
from labregress.matrix import Cell, load
from labregress.runner import Row, finished, kept_at, one_at_a_time, rows_of, run

pytestmark = pytest.mark.fast


@pytest.fixture
def cell() -> Cell:
    return load().cells(["3.17.2"], ["sklearn"])[0]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every environment be one that holds nothing; return its folder."""
    folder = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    monkeypatch.setattr(environments, "build", lambda *_, **__: folder / "bin" / "python")
    return folder


def packages(environment: Path) -> Path:
    (found,) = (environment / "lib").glob("python3*/site-packages")
    return found


def good(cell: Cell) -> list[Row]:
    return [
        {"step": "serve", "ok": True, "seconds": 1.0},
        *({"protocol": one, "status": cell.version.answers[one], "equal": True}
          for one in cell.protocols),
    ]  # fmt: skip


def test_rows_pass_when_status_and_numbers_are_right(cell: Cell) -> None:
    assert {row["status"] for row in rows_of(cell, good(cell))} == {"passed"}


def test_row_with_other_numbers_fails(cell: Cell) -> None:
    steps = good(cell)
    steps[2]["equal"] = False
    assert [row["status"] for row in rows_of(cell, steps)] == ["passed", "failed", "passed"]


def test_row_with_another_status_fails_and_says_both(cell: Cell) -> None:
    steps = good(cell)
    steps[1] |= {"status": 200}
    row = rows_of(cell, steps)[0]
    assert row["status"] == "failed"
    assert row["error"].startswith("expected HTTP 415, found 200")


def test_no_answer_is_no_pass(cell: Cell) -> None:
    assert {row["status"] for row in rows_of(cell, [])} == {"failed"}


def test_environment_without_mlflow_fails_at_the_import(
    cell: Cell, bare: Path, tmp_path: Path
) -> None:
    rows = run([cell], tmp_path / "out", tell=lambda _: None)
    assert {(row["status"], row["step"]) for row in rows} == {("failed", "import")}
    assert "No module named 'mlflow'" in rows[0]["error"]
    assert not any((tmp_path / "out" / "scratch").iterdir())


def test_other_release_than_the_matrix_says_fails(cell: Cell, bare: Path, tmp_path: Path) -> None:
    (packages(bare) / "mlflow.py").write_text("__version__ = '1.27.0'\n")
    rows = run([cell], tmp_path / "out", tell=lambda _: None)
    assert "mlflow 1.27.0 is installed, not 3.17.2" in rows[0]["error"]


def test_driver_that_dies_without_a_word_is_a_failure(
    cell: Cell, bare: Path, tmp_path: Path
) -> None:
    (packages(bare) / "mlflow.py").write_text(
        "import os, sys\nprint('Segmentation fault', file=sys.stderr, flush=True)\nos._exit(139)\n"
    )
    rows = run([cell], tmp_path / "out", tell=lambda _: None)
    assert {(row["status"], row["error"]) for row in rows} == {("failed", "Segmentation fault")}


def test_second_run_keeps_what_is_finished(cell: Cell, bare: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "out", list[str]()
    first = run([cell], out, tell=words.append)
    assert run([cell], out, tell=words.append) == first
    assert words[-1].endswith("kept from an earlier run")
    run([cell], out, again=True, tell=words.append)
    assert words[-1].endswith("runs")


def test_cell_without_its_environment_runs_again(
    cell: Cell, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environments.build(cell.lock, bare)

    def fails(*_: object, **__: object) -> Path:
        raise BuildFailed("The index does not answer.")

    monkeypatch.setattr(environments, "build", fails)
    rows = run([cell], tmp_path / "out", tell=lambda _: None)
    assert {(row["step"], row["error"]) for row in rows} == {
        ("install", "The index does not answer.")
    }
    monkeypatch.setattr(environments, "build", lambda *_, **__: python)
    rows = run([cell], tmp_path / "out", tell=lambda _: None)
    assert {row["step"] for row in rows} == {"import"}


def test_result_of_another_lock_or_half_a_file_is_not_kept(
    cell: Cell, bare: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run([cell], out, tell=lambda _: None)
    assert finished(cell, out)
    other = load().cells(["3.17.2"], ["sklearn"], ("portable",))[0]
    assert finished(other, out) is None
    file = kept_at(cell, out)
    file.write_text(file.read_text()[:40])
    assert finished(cell, out) is None


def test_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(RegressError, match="another `labregress run`")
    with one_at_a_time(tmp_path), refused, one_at_a_time(tmp_path):
        pass


HANGS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session={alone})
time.sleep(600)
"""
RUNS = """
import sys
from pathlib import Path
from labregress import environments
from labregress.matrix import load
from labregress.runner import run
environments.build = lambda *_, **__: Path(sys.argv[1])
run(load().cells(["3.17.2"], ["sklearn"]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("alone", [False, True], ids=["in the group", "in a session of its own"])
def test_run_killed_with_9_leaves_nothing_after_the_next_start(
    bare: Path, tmp_path: Path, alone: bool
) -> None:
    (packages(bare) / "mlflow.py").write_text(HANGS.format(alone=alone))
    out = tmp_path / "out"
    words = [sys.executable, "-c", RUNS, str(bare / "bin" / "python"), str(out)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as runner:
        wait("driver and child", lambda: orphans.marked(out), until=lambda seen: len(seen) == 2)
        started = orphans.marked(out)
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
    if not alone:
        wait("the group to end", lambda: orphans.marked(out), until=lambda left: not left)
    else:
        wait("the driver to end", lambda: orphans.marked(out), until=lambda left: len(left) == 1)
        assert orphans.end(out) == 1
    assert orphans.marked(out) == []
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in started)
