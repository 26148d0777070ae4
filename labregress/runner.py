"""Run cells one after the other: an environment, a port and a process group each, and resume.

The result of a cell is a file. A cell whose file has the fingerprint of today's lock, case and
driver is not run again: after a kill, and after a change that does not touch it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from labregress import environments, orphans
from labregress.errors import BuildFailed, RegressError
from labregress.matrix import Cell

__all__ = ["Row", "free_port", "run", "run_cell"]

Row = dict[str, Any]
PATIENCE = 600
PORTS = range(20_000, 30_000)
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "PYTHONWARNINGS": "ignore",
    "PYTHONDONTWRITEBYTECODE": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "OMP_NUM_THREADS": "1",
}
KEPT = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


def run(
    cells: Sequence[Cell],
    out: Path,
    *,
    offline: bool = False,
    again: bool = False,
    keep: bool = False,
    scratch: Path | None = None,
    tell: Callable[[str], None] = print,
) -> list[Row]:
    """Return the rows of all cells; run those whose result is missing or old.

    Environments and the cells' folders lie in `scratch`, a local disk, where `out` is a shared one.
    """
    out.mkdir(parents=True, exist_ok=True)
    local = scratch or out
    with one_at_a_time(out):
        if left := orphans.end(out):
            tell(f"Ended {left} processes that an earlier run had left.")
        shutil.rmtree(local / "scratch", ignore_errors=True)  # of cells that were killed
        try:
            rows = []
            for number, cell in enumerate(cells, 1):
                found = None if again else finished(cell, out)
                state = "kept from an earlier run" if found else "runs"
                tell(
                    f"{number}/{len(cells)} mlflow {cell.version.mlflow}, {cell.case.name}: {state}"
                )
                rows += found or run_cell(cell, out, local, offline=offline, tell=tell)
        finally:
            if not keep:
                shutil.rmtree(local / "environments", ignore_errors=True)
    return rows


@contextlib.contextmanager
def one_at_a_time(out: Path) -> Iterator[None]:
    """Refuse a second run in the same folder: it would end the first one's processes."""
    with (out / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RegressError(
                f"Expected nobody to run in {out}, found another `labregress run` there. "
                "Wait for it, or give another folder: --out FOLDER"
            ) from None
        yield


def kept_at(cell: Cell, out: Path) -> Path:
    """Return where a result is kept: a pin that comes back finds the result it had."""
    return out / "cells" / f"{cell.id}-{cell.fingerprint}.json"


def finished(cell: Cell, out: Path) -> list[Row] | None:
    """Return the rows of a cell that ran with exactly this lock, case and driver.

    One whose environment could not be built did not run: an index may answer the next time.
    """
    try:
        rows: list[Row] = json.loads(kept_at(cell, out).read_text("utf-8"))["rows"]
    except (OSError, ValueError):
        return None
    return None if any(row["step"] == "install" for row in rows) else rows


def run_cell(
    cell: Cell,
    out: Path,
    local: Path,
    *,
    offline: bool = False,
    tell: Callable[[str], None] = print,
) -> list[Row]:
    """Run one cell and keep its rows."""
    folder, file = local / "environments" / cell.lock.digest, kept_at(cell, out)
    began = time.monotonic()
    try:
        marks = {orphans.MARK: str(out.resolve())}
        python = environments.build(cell.lock, folder, offline=offline, marks=marks, tell=tell)
    except BuildFailed as error:
        steps: list[Row] = [{"step": "install", "ok": False, "error": str(error)}]
    else:
        steps = [{"step": "install", "ok": True, "seconds": round(time.monotonic() - began, 2)}]
        steps += drive(cell, python, out, local)
    rows = rows_of(cell, steps)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"rows": rows}, indent=1))
    os.replace(draft, file)
    return rows


def drive(cell: Cell, python: Path, out: Path, local: Path) -> list[Row]:
    """Run the driver in its own process group and folder; return what its steps printed."""
    task = {
        "mlflow": cell.version.mlflow,
        "train": str(cell.case.folder / "train.py"),
        "protocols": list(cell.protocols),
        "patience": PATIENCE,
    }
    scratch = local / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    program = str(Path(__file__).with_name("driver.py"))
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= QUIET | {orphans.MARK: str(out.resolve())}
    environment["PATH"] = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix=f"{cell.id}-") as work,
        (Path(work) / "driver.log").open("w+") as log,
    ):
        words = [str(python), "-B", program, json.dumps(task | {"port": free_port()})]
        driver = subprocess.Popen(
            words, cwd=work, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            steps = [json.loads(line) for line in driver.stdout or ()]
            driver.wait(30)
        except subprocess.TimeoutExpired:
            steps.append({"step": "end", "ok": False, "error": "the driver did not end"})
        finally:
            orphans.end_group(driver.pid)
            driver.communicate()
        if driver.returncode and not any(not one.get("ok", True) for one in steps):
            steps.append({"step": "end", "ok": False, "error": last_line(log)})
    return steps


def last_line(log: TextIO) -> str:
    """Return what a driver that ended without a word wrote last."""
    log.seek(0)
    return ([line.strip() for line in log if line.strip()] or ["it said nothing"])[-1][:300]


def free_port() -> int:
    """Return a port of the loopback that nobody listens on and no outgoing connection is given."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as door, contextlib.suppress(OSError):
            door.bind(("127.0.0.1", port))
            return port
    raise OSError(f"expected a free port between {PORTS[0]} and {PORTS[-1]}; found 100 taken")


def rows_of(cell: Cell, steps: Sequence[Row]) -> list[Row]:
    """Return a row for each protocol: where a step before it failed, all of them failed there.

    A row passes when the scorer gave the status that the matrix knows of this version, and, where
    it answered, the model's own numbers.
    """
    broken = next((one for one in steps if not one.get("ok", True)), None)
    answers = {one["protocol"]: one for one in steps if "protocol" in one}
    seconds = {one["step"]: one.get("seconds", 0) for one in steps if "step" in one}
    rows = []
    for protocol in cell.protocols:
        row: Row = {"version": cell.version.mlflow, "case": cell.case.name, "protocol": protocol}
        answer = answers.get(protocol)
        expected = cell.version.answers[protocol]
        if answer is None:
            failed = broken or {"step": "end", "error": "the scorer was not asked"}
            row |= {"status": "failed", "step": failed["step"], "error": failed["error"]}
        elif answer["status"] != expected:
            text = f"expected HTTP {expected}, found {answer['status']}: {answer.get('says', '')}"
            row |= {"status": "failed", "step": "ask", "error": text, "http": answer["status"]}
        elif not answer.get("equal", True):
            text = "the answer holds other numbers than the model predicts"
            row |= {"status": "failed", "step": "ask", "error": text, "http": answer["status"]}
        else:
            row |= {"status": "passed", "step": "ask", "error": "", "http": answer["status"]}
        rows.append(row | {"seconds": seconds})
    return rows
