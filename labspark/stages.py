"""Show what Spark is doing while a cell runs, in one line that goes away when it is done.

Spark's own progress bar writes to the terminal that Jupyter was started from. This one writes
where the learner looks, and only when a cell takes longer than two seconds.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from pyspark.sql import SparkSession

__all__ = ["describe", "show"]

PATIENCE = 2.0
EVERY = 0.5
# A notebook may be dark: the place it is shown in knows its own grey.
QUIET = "var(--jp-content-font-color2, var(--vscode-descriptionForeground, #595959))"

_watch: dict[str, Any] = {}


def show(spark: SparkSession) -> None:
    """Show the progress of this session's jobs under each cell; in a notebook only."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel") or _watch.get("shell") is shell:
        _watch["spark"] = spark
        return
    _watch.update(shell=shell, spark=spark)
    shell.events.register("pre_run_cell", _begin)
    shell.events.register("post_run_cell", _end)


def describe(spark: SparkSession) -> str:
    """Say which stages run and how far they are; nothing when none runs."""
    tracker = spark.sparkContext.statusTracker()
    parts = []
    for stage in tracker.getActiveStageIds():
        info = tracker.getStageInfo(stage)
        if info is not None and info.numTasks:
            parts.append(f"stage {stage}: {info.numCompletedTasks} of {info.numTasks} tasks")
    return "Spark " + ", ".join(parts) if parts else ""


def _begin(*_: object) -> None:
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(_watch["spark"], done), daemon=True)
    _watch.update(done=done, thread=thread)
    thread.start()


def _end(*_: object) -> None:
    done = _watch.pop("done", None)
    if done is not None:
        done.set()
        _watch.pop("thread").join(5)


def _follow(spark: SparkSession, done: threading.Event) -> None:
    """Rewrite one line until the cell ends, then wipe it."""
    started = time.monotonic()
    name = f"spark-{id(done)}"
    shown = False
    if done.wait(PATIENCE):
        return
    while not done.wait(EVERY):
        try:
            text = describe(spark)
        except Exception:  # the session was stopped by the cell: nothing left to show
            break
        if text:
            _write(name, f"{text}, {time.monotonic() - started:.0f} s", again=shown)
            shown = True
    if shown:
        _write(name, "", again=True)


def _write(name: str, text: str, *, again: bool) -> None:
    """Put a line where the last one of this name is."""
    from IPython.display import publish_display_data

    page = f'<span style="color:{QUIET}">{text}</span>' if text else ""
    bundle = {"text/plain": text, "text/html": page}
    publish_display_data(bundle, transient={"display_id": name}, update=again)
