"""Run one lab in a process of its own: `python -m labrunner.execute JOB.json`.

The job names the notebook, where its executed copy goes, the parameters, the folder it runs in.
Events leave as JSON lines on standard output: {"event": "step" | "checkpoint" | "error" | "end"}.
The executed copy is written after every cell, so a kill -9 leaves what there was. The kernel
watches this process, and this process watches the one that started it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from labrunner.steps import cells_in, numbers_of, steps_of

BEGUN = time.monotonic()
SENTENCES = 8  # lines of an error that a person reads; more of them are a stack
PROBE = "probe"  # a blank that is run to see its checkpoint fail
SOLUTION_TAG = "solution"  # a cell that the build adds, and that is in no source
CHECKPOINT = "application/vnd.labs.checkpoint+json"


class Memory(threading.Thread):
    """Sample the memory of a process tree; end the process when its parent is gone."""

    def __init__(self, every: float = 0.5) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._every = every
        self._stop_asked = threading.Event()
        self._parent = os.getppid()

    def run(self) -> None:
        """Look until asked to stop."""
        while not self._stop_asked.wait(self._every):
            self.peak = max(self.peak, tree_bytes(psutil.Process()))
            if os.getppid() != self._parent:
                os._exit(3)

    def stop(self) -> int:
        """Stop looking and return the peak in bytes."""
        self._stop_asked.set()
        return self.peak


def tree_bytes(top: psutil.Process) -> int:
    """Return the resident memory of the processes below one, in bytes."""
    total = 0
    try:
        below = top.children(recursive=True)
    except psutil.Error:
        return 0
    for process in below:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def main(job_file: str) -> int:
    """Run the lab that a job file describes; return 0 when every cell passed."""
    job = json.loads(Path(job_file).read_text("utf-8"))
    memory = Memory()
    memory.start()
    error = run(job)
    emit("end", ok=error is None, peak=memory.stop())
    return 0 if error is None else 1


def run(job: dict[str, Any]) -> dict[str, Any] | None:
    """Run all cells; return what failed, or None."""
    notebook = load(job["notebook"], job["parameters"])
    numbers = numbers_of(notebook)
    written = [one for one in notebook.cells if SOLUTION_TAG not in one.metadata.get("tags", ())]
    sources = numbers_of(SimpleNamespace(cells=written))
    if job["sections"]:
        notebook.cells = cells_in(notebook, set(job["sections"]))
    output = Path(job["output"])
    titles = steps_of(notebook)
    times: dict[int, float] = {}

    def start(cell: Any, cell_index: int) -> None:
        times[cell_index] = time.monotonic()
        if titles.get(cell_index) != titles.get(cell_index - 1) and titles[cell_index][0]:
            number, title = titles[cell_index]
            emit("step", number=number, title=title, of=max(step for step, _ in titles.values()))

    def executed(cell: Any, cell_index: int, execute_reply: Any) -> None:
        cell.metadata["seconds"] = round(time.monotonic() - times[cell_index], 3)
        is_probe = PROBE in cell.metadata.get("tags", ())
        for found in () if is_probe else checkpoints(cell):
            emit("checkpoint", **{"step": titles[cell_index][0], **_known(found)})
        nbformat.write(notebook, output)

    client = NotebookClient(
        notebook,
        timeout=job["timeout"],
        kernel_name="python3",
        resources={"metadata": {"path": job["folder"]}},
        on_cell_start=start,
        on_cell_executed=executed,
        record_timing=False,
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as problem:
        index = max(times, default=0)
        cell = notebook.cells[index].id
        where = {"cell": numbers[cell], "source_cell": sources.get(cell, 0)}
        return _failed(notebook, index, problem, titles[index], where)
    finally:
        nbformat.write(notebook, output)
    return None


def load(path: str, values: dict[str, Any]) -> Any:
    """Read a notebook; papermill inserts the given values after its parameters cell."""
    if not values:  # importing papermill takes most of a second
        return nbformat.read(path, as_version=4)
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    return parameterize_notebook(load_notebook_node(path), values)


def checkpoints(cell: Any) -> list[dict[str, Any]]:
    """Return the checkpoints that a cell's outputs carry."""
    bundles = (output.get("data", {}) for output in cell.get("outputs", ()))
    return [dict(bundle[CHECKPOINT]) for bundle in bundles if CHECKPOINT in bundle]


def emit(event: str, **fields: Any) -> None:
    """Tell the runner what happened, as one line."""
    at = round(time.monotonic() - BEGUN, 3)
    print(json.dumps({"event": event, "at": at, **fields}), flush=True)


def _known(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None and key != "event"}


def _failed(
    notebook: Any, index: int, problem: Exception, step: tuple[int, str], where: dict[str, int]
) -> dict[str, Any]:
    """Tell the runner which cell failed and how, and return what was told."""
    cell = notebook.cells[index]
    found = {
        **where,
        "id": cell.id,
        "count": cell.get("execution_count"),
        "step": step[0],
        "title": step[1],
        "source": cell.source,
        "name": getattr(problem, "ename", type(problem).__name__),
        "text": _of_checkpoint(problem)
        or _told(cell)
        or _first_lines(str(getattr(problem, "evalue", problem))),
        "trace": getattr(problem, "traceback", str(problem)),
    }
    emit("error", **found)
    return found


def _of_checkpoint(problem: Exception) -> str:
    """Return what a failed checkpoint says; its cell's error only points at the box above it."""
    is_check = getattr(problem, "ename", "") == "CheckFailed"
    return str(getattr(problem, "evalue", "")) if is_check else ""


def _told(cell: Any) -> str:
    """Return an error as the notebook told it in sentences; nothing when it showed a stack."""
    for output in cell.get("outputs", ()):
        shown = "\n".join(output.get("traceback") or []) if output.output_type == "error" else ""
        lines = shown.splitlines()
        if 0 < len(lines) <= SENTENCES and "Traceback (most recent call last)" not in shown:
            return lines[0].partition(": ")[2] or lines[0]
    return ""


def _first_lines(text: str) -> str:
    """Cut an error that fills pages; the executed notebook has all of it."""
    lines = text.splitlines()
    return "\n".join([*lines[:SENTENCES], "…"] if len(lines) > SENTENCES else lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
