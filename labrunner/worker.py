"""Start a lab's process, read its events, end it with everything below it.

A lab may start programs that outlive its kernel. All of them inherit a variable that names a folder
of the replay; when the replay was killed with -9, the next one in this folder knows them by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from labrunner.curriculum import Lab
from labrunner.errors import ReplayBusy
from labrunner.outcome import Outcome

MARK = "JUPYTER_RUNTIME_DIR"
_ORPHAN_SECONDS = 60


class Worker:
    """One lab's process; events go to `tell` as they come."""

    def __init__(
        self, lab: Lab, job: Mapping[str, Any], work: Path, environment: Mapping[str, str]
    ):
        work.mkdir(parents=True, exist_ok=True)
        name = lab.id.replace("/", "-")
        self.is_stopped = False
        self.log = work / f"{name}.log"
        job_file = work / f"{name}.json"
        job_file.write_text(json.dumps(job), "utf-8")
        with self.log.open("wb") as words:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "labrunner.execute", str(job_file)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                env=dict(environment),
                cwd=job["folder"],
            )

    def follow(self, outcome: Outcome, tell: Callable[[Outcome], None]) -> None:
        """Take events until the process ends; a silent end is a failure too."""
        assert self.process.stdout is not None
        with self.process.stdout as events:
            for line in events:
                with contextlib.suppress(json.JSONDecodeError):
                    outcome.take(json.loads(line))
                tell(outcome)
        status = self.process.wait()
        if outcome.status not in ("passed", "failed") and not self.is_stopped:
            words = self.log.read_text("utf-8", "replace").strip().splitlines()[-15:]
            outcome.fail("LabEnded", f"the lab's process ended with status {status}")
            if outcome.error is not None:
                outcome.error["trace"] = "\n".join(words)
        tell(outcome)

    def stop(self) -> None:
        """End the process and everything below it; a second call does nothing."""
        self.is_stopped = True
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(self.process.pid)
            tree = [top, *top.children(recursive=True)]
            for process in tree:
                with contextlib.suppress(psutil.Error):
                    process.terminate()
            for process in psutil.wait_procs(tree, timeout=5)[1]:
                with contextlib.suppress(psutil.Error):
                    process.kill()


def end_orphans(runtime: Path) -> None:
    """End what the labs of a killed replay have left running; what forks meanwhile, too."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while left := [one for one in psutil.process_iter() if _is_marked(one, runtime)]:
        if time.monotonic() > deadline:
            pids = ", ".join(str(process.pid) for process in left)
            raise ReplayBusy(
                f"Expected the processes of the replay before this one to end, found {pids} alive "
                f"after {_ORPHAN_SECONDS} s. Look at them with `ps -fp {pids.replace(' ', '')}`, "
                "then begin this replay again."
            )
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def _is_marked(process: psutil.Process, runtime: Path) -> bool:
    try:
        marked = process.environ().get(MARK) == str(runtime)
        return marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextlib.contextmanager
def none_left(workers: list[Worker]) -> Iterator[None]:
    """Stop every worker that is still there on the way out."""
    try:
        yield
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.stop()
