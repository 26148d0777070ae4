"""Run labs headlessly, in the order of their needs, and keep what is known after every lab.

A failed lab stops those that need it, not the others. What passed is kept in the output folder
with a digest of the notebook and its parameters, so `--resume` goes on after any end, kill -9
included. Nothing here knows what a lab teaches.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from labrunner import notebook, outcome, practice, sandbox, settings
from labrunner.curriculum import Curriculum, Lab
from labrunner.errors import ReplayBusy
from labrunner.live import Board
from labrunner.outcome import FAILED, PASSED, RUNNING, SKIPPED, WAITING, Outcome
from labrunner.worker import MARK, Worker, end_orphans, none_left

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def labs_at_once() -> int:
    """Return 2 where a second lab finds a processor and 8 GB; with Java and pods one holds 3."""
    return 1 + (psutil.virtual_memory().available >= 8 << 30 and len(os.sched_getaffinity(0)) > 1)


@dataclass(frozen=True)
class Plan:
    """What to run, and how."""

    labs: tuple[Lab, ...]
    out: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 1
    resume: bool = False
    again: bool = False
    solutions: bool = False
    practice: bool = False  # run each blank before its solution: its checkpoint must fail
    platform: Path | None = None
    timeout: int = 3600
    home: Path | None = None  # where the learner's progress is kept; None: with the replay
    project: Path | None = None  # the project repository; None: with the replay
    sections: tuple[str, ...] = ()  # only these sections of each lab; all when empty

    @property
    def state(self) -> Path:
        """Return the folder for what is needed between runs, and not by readers."""
        return self.out / ".state"

    def executed(self, lab: Lab) -> Path:
        """Return where the executed notebook of a lab goes."""
        return self.out / "notebooks" / f"{lab.file}.ipynb"


def replay(curriculum: Curriculum, plan: Plan, console: Console) -> list[Outcome]:
    """Run the plan; return one outcome per lab."""
    values = settings.assign(curriculum, plan.labs, plan.given)
    with only_one(plan.out), interruptible():
        texts = {
            lab.id: notebook.text_to_run(curriculum, lab, solutions=plan.solutions)
            for lab in plan.labs
        }
        if plan.practice:
            texts = {lab: practice.proof_of(text) for lab, text in texts.items()}
        outcomes = _outcomes(plan, texts, values)
        _prepare_folder(plan)
        with contextlib.ExitStack() as stack:
            board = stack.enter_context(Board(console, outcomes))
            todo = [lab for lab, found in zip(plan.labs, outcomes, strict=True) if not found.kept]
            environment = stack.enter_context(_platform(plan, todo, board))
            stack.callback(outcome.save, outcomes, plan.state / "outcomes.json")
            Run(curriculum, plan, texts, values, environment, outcomes, board).all()
    return outcomes


class Run:
    """The labs of one replay, as their needs allow."""

    def __init__(
        self,
        curriculum: Curriculum,
        plan: Plan,
        texts: Mapping[str, str],
        values: settings.Values,
        environment: Mapping[str, str],
        outcomes: list[Outcome],
        board: Board,
    ) -> None:
        self.curriculum = curriculum
        self.plan = plan
        self.texts = texts
        self.values = values
        self.environment = environment
        self.outcomes = {found.lab: found for found in outcomes}
        self.board = board
        self.done: queue.Queue[str] = queue.Queue()
        self.active: set[str] = set()
        self.workers: list[Worker] = []

    def all(self) -> None:
        """Run until no lab is left that could run."""
        with self._interrupted_marked(), none_left(self.workers):
            while True:
                self._skip_hopeless()
                ready = self._ready()
                if self.plan.jobs > 1:
                    ready.sort(key=self._ahead, reverse=True)
                for lab in ready[: self.plan.jobs - len(self.active)]:
                    self._start(lab)
                if not self.active:
                    return
                # The report's library takes seconds to import: now, while a lab runs. In a
                # thread of its own its imports and those of the others waited for each other.
                importlib.import_module("nbconvert")
                self._finish(self.done.get())

    @contextlib.contextmanager
    def _interrupted_marked(self) -> Iterator[None]:
        try:
            yield
        finally:
            for found in self.outcomes.values():
                if found.status == RUNNING:
                    found.status, found.reason = WAITING, "interrupted"

    def _needs(self, lab: Lab) -> list[Outcome]:
        return [self.outcomes[need] for need in lab.needs if need in self.outcomes]

    def _skip_hopeless(self) -> None:
        for lab in self.plan.labs:
            found = self.outcomes[lab.id]
            broken = [need.lab for need in self._needs(lab) if need.status in (FAILED, SKIPPED)]
            if found.status == WAITING and broken:
                found.status, found.reason = SKIPPED, f"needs {', '.join(broken)}"
                self.board.tell(found)

    def _ready(self) -> list[Lab]:
        to_come = {lab for lab, one in self.outcomes.items() if one.status in (WAITING, RUNNING)}
        return [
            lab
            for lab in self.plan.labs
            if self.outcomes[lab.id].status == WAITING
            and all(need.status == PASSED for need in self._needs(lab))
            and not to_come.intersection(lab.after)
        ]

    def _ahead(self, lab: Lab) -> int:
        """Return the minutes of the longest way from here on, which is begun first."""
        after = [self._ahead(one) for one in self.plan.labs if lab.id in (*one.needs, *one.after)]
        return lab.minutes + max(after, default=0)

    def _start(self, lab: Lab) -> None:
        output = self.plan.executed(lab)
        output.parent.mkdir(parents=True, exist_ok=True)
        built = self.plan.state / "jobs" / f"{lab.id.replace('/', '-')}.ipynb"
        notebook.save(built, self.texts[lab.id])
        job = {
            "notebook": str(built),
            "output": str(output),
            "parameters": self.values[lab.id],
            "folder": str(self.curriculum.notebook(lab).parent),
            "timeout": self.plan.timeout,
            "sections": list(self.plan.sections),
        }
        found = self.outcomes[lab.id]
        found.status = RUNNING
        self.active.add(lab.id)
        self.board.tell(found)
        worker = Worker(lab, job, self.plan.state / "jobs", self.environment)
        self.workers.append(worker)

        def follow() -> None:
            try:
                worker.follow(found, self.board.tell)
            finally:
                self.done.put(lab.id)

        threading.Thread(target=follow, daemon=True).start()

    def _finish(self, lab_id: str) -> None:
        self.active.discard(lab_id)
        found = self.outcomes[lab_id]
        if found.status == PASSED and self.plan.practice:
            practice.judge(found, self.plan.executed(self.curriculum.get(lab_id)))
            self.board.tell(found)
        if found.status == PASSED and self.plan.again:
            from labrunner import again

            again.compare(found, self.plan.executed(self.curriculum.get(lab_id)), self.environment)
            self.board.tell(found)
        outcome.save(list(self.outcomes.values()), self.plan.state / "outcomes.json")


def _outcomes(plan: Plan, texts: Mapping[str, str], values: settings.Values) -> list[Outcome]:
    """Return an outcome per lab: kept from an earlier run where `--resume` may, or waiting.

    A run that passed whole was tidied: what its labs had made is gone, so nothing of it is kept.
    """
    goes_on = plan.resume and (plan.state / "home").is_dir()
    before = outcome.load(plan.state / "outcomes.json") if goes_on else {}
    found = []
    for lab in plan.labs:
        asked = json.dumps(values[lab.id], sort_keys=True)
        digest = hashlib.sha256((texts[lab.id] + asked).encode()).hexdigest()
        old = before.get(lab.id)
        if old and old.status == PASSED and old.digest == digest and plan.executed(lab).is_file():
            old.kept = True
            found.append(old)
        else:
            found.append(Outcome(lab.id, lab.title, digest, parameters=dict(values[lab.id])))
    return found


def _prepare_folder(plan: Plan) -> None:
    """Clear what an earlier replay left, unless this one goes on with it."""
    end_orphans(_runtime(plan))
    if not plan.resume:
        sandbox.take_down(plan.state / "sandbox", plan.state / "sandbox.log")
        for name in (".state", "notebooks"):
            shutil.rmtree(plan.out / name, ignore_errors=True)
        for name in ("report.html", "report.json", "junit.xml"):
            (plan.out / name).unlink(missing_ok=True)
    for name in ("home", "project", "runtime", "jobs"):
        (plan.state / name).mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _platform(plan: Plan, todo: list[Lab], board: Board) -> Iterator[dict[str, str]]:
    """Give the environment of the labs, with a platform in it when one of them needs it."""
    environment = _environment(plan)
    if plan.platform is not None:
        yield sandbox.merged(environment, sandbox.settings_of(plan.platform))
    elif sandbox.is_configured() or not any(lab.platform for lab in todo):
        yield environment
    else:
        board.say("Starting the sandbox…")
        with sandbox.running((plan.state / "sandbox").absolute()) as found:
            yield sandbox.merged(environment, found)


def _runtime(plan: Plan) -> Path:
    return plan.state.absolute() / "runtime"


def _environment(plan: Plan) -> dict[str, str]:
    """Return what a lab's process finds: our programs first, places of its own."""
    state = plan.state.absolute()
    found = dict(os.environ)
    # A first path entry makes `labs` and `labsandbox` in a cell mean these ones.
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found.get('PATH', os.defpath)}"
    found["LABS_HOME"] = str(plan.home or state / "home")
    found[MARK] = str(_runtime(plan))
    found["IPYTHONDIR"] = str(state / "ipython")
    found["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    found.setdefault("PROJECT_REPO", str(plan.project or state / "project"))
    return found


@contextlib.contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Refuse a second replay in the same folder while one runs."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        opened = (out / ".lock").open("w")
    except OSError as error:
        raise ReplayBusy(
            f"Expected to write to {out}, found: {error.strerror}. "
            "Type `labs replay --out FOLDER` with a folder of yours."
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReplayBusy(
                f"Expected to write to {out}, where another replay runs. "
                "Wait for it, or type `labs replay --out build/another`."
            ) from error
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C, SIGTERM and a closed terminal end this process in order.

    SIGINT is named too: a shell starts the background jobs of a script with SIGINT ignored, Python
    then installs no handler for it, and children would inherit that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, stop) for one in _ENDINGS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
