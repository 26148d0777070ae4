"""A class that runs labs 01 and 02 at the same time on one host against one platform.

    python -m benchmarks.classroom [--students 12] [--tenants own|shared]

`labs class --prepare-only` makes the class: each learner has a tenant (or all share one), settings
and a password of their own. First one more learner runs both labs alone; then all others begin at
the same moment, each lab in a kernel of its own as a replay starts it. Compared: their times with
those of the one alone, in the same run, and with what the processors allow: the processor seconds
of one alone (kernel, pods, platform), times N, divided by the processors. A platform that many
learners slow down needs more processor seconds for each of them: that is the goal, and it holds
also on a machine that others use. Memory is proportional (PSS), at its peak.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.report import Figure, save
from labrunner import notebook, sandbox
from labrunner.curriculum import Curriculum, Lab, load
from labrunner.outcome import PASSED, Outcome
from labrunner.worker import Worker

LABS = ("core/01", "core/02")
SLACK = 1.25
PARTS = ("platform", "pods", "kernels")


@dataclass
class Class:
    """A prepared class and its running platform."""

    folder: Path
    curriculum: Curriculum

    def names(self) -> list[str]:
        """Return the learners' names."""
        with (self.folder / "credentials.csv").open() as sheet:
            return [row["name"] for row in csv.DictReader(sheet) if row["role"] == "student"]

    def environment(self, name: str) -> dict[str, str]:
        """Return what one learner's labs find, with places of their own."""
        file = self.folder / "learners" / f"{name}.env"
        place = self.folder / "benchmark" / name
        place.mkdir(parents=True)
        with (self.folder / "credentials.csv").open() as sheet:
            known = {row["name"]: row["password"] for row in csv.DictReader(sheet)}
        (place / "password").write_text(known[name])
        return sandbox.merged(dict(os.environ), sandbox.settings_of(file)) | {
            "EZMERAL_PASSWORD_FILE": str(place / "password"),
            "LABS_HOME": str(place / "home"),
            "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
            "IPYTHONDIR": str(place / "ipython"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def alone(self, name: str, labs: Sequence[Lab]) -> tuple[list[Outcome], list[float]]:
        """Run labs as the only learner; return also the processor seconds of each."""
        environment = self.environment(name)
        done, used = [], [processor_seconds(self.folder / "platform")]
        for lab in labs:
            done += self.run(name, [lab], environment)
            used.append(processor_seconds(self.folder / "platform"))
        return done, [after - before for before, after in itertools.pairwise(used)]

    def run(
        self, name: str, labs: Sequence[Lab], environment: dict[str, str] | None = None
    ) -> list[Outcome]:
        """Run labs one after the other as one learner; stop at the first that fails."""
        environment, done = environment or self.environment(name), []
        work = self.folder / "benchmark" / name
        for lab in labs:
            text = notebook.text_to_run(self.curriculum, lab)
            built = work / f"{lab.id.replace('/', '-')}.ipynb"
            notebook.save(built, text)
            job = {
                "notebook": str(built),
                "output": str(built.with_suffix(".done.ipynb")),
                "parameters": {},
                "folder": str(self.curriculum.notebook(lab).parent),
                "timeout": 900,
                "sections": [],
            }
            found = Outcome(lab.id, lab.title, "")
            worker = Worker(lab, job, work, environment)
            try:
                worker.follow(found, lambda _: None)
            finally:
                worker.stop()
            done.append(found)
            if found.status != PASSED:
                break
        return done


@dataclass
class Memory(threading.Thread):
    """Look at the proportional memory of everything, every few seconds."""

    state: Path
    peak: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Look until stopped, and keep the look that saw most."""
        while not self.stopped.wait(2.0):
            seen = self.look()
            if sum(seen.values()) > sum(self.peak.values()):
                self.peak = seen

    def look(self) -> dict[str, float]:
        """Return the megabytes of each part now."""
        seen = dict.fromkeys(PARTS, 0.0)
        mine = {process.pid for process in psutil.Process().children(recursive=True)}
        for process in psutil.process_iter():
            try:
                part = self.part_of(process, mine)
                if part:
                    seen[part] += process.memory_full_info().pss / 1e6
            except (psutil.Error, OSError):
                continue
        return seen

    def part_of(self, process: psutil.Process, mine: set[int]) -> str | None:
        """Say what a process belongs to; None for what is none of ours."""
        if process.pid in mine:
            return "kernels"
        words = process.cmdline()
        if any(word.startswith("labsandbox.") for word in words) or "keeper" in " ".join(words):
            return "platform" if any(str(self.state) in word for word in words) else None
        inside = process.environ().get("POD_ROOT", "").startswith(str(self.state))
        return "pods" if inside else None


@dataclass
class Together:
    """What all learners together took of the processors."""

    state: Path
    ours: float = 0.0
    others: float = 0.0
    seconds: float = 0.0

    def __enter__(self) -> Together:
        self._begun, self._busy = time.monotonic(), busy_seconds()
        self._ours = processor_seconds(self.state)
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._begun
        self.ours = processor_seconds(self.state) - self._ours
        self.others = max(busy_seconds() - self._busy - self.ours, 0.0) / self.seconds


def busy_seconds() -> float:
    """Return the seconds for which the machine's processors have worked."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + times.softirq + times.irq)


def labs_class(folder: Path, *words: str) -> None:
    """Run `labs class`."""
    program = str(Path(sys.executable).with_name("labs"))
    ours = ("EZMERAL", "LABSANDBOX")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    subprocess.run([program, "class", "--folder", str(folder), *words], check=True, env=clean)


def processor_seconds(state: Path) -> float:
    """Return the processor seconds of our own kernels that ended, of the platform and its pods."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = used.ru_utime + used.ru_stime
    memory = Memory(state)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if memory.part_of(process, set()):
                total += sum(process.cpu_times()[:4])  # with those of children that ended
    return total


def seconds_of(runs: Iterable[list[Outcome]], lab: str) -> list[float]:
    """Return how long a lab took for everybody who passed it."""
    return [one.seconds for run in runs for one in run if one.lab == lab and one.status == PASSED]


def figures_of(
    alone: tuple[list[Outcome], list[float]],
    runs: list[list[Outcome]],
    together: Together,
    peak: dict[str, float],
    tenants: str,
) -> list[Figure]:
    """Say what was found."""
    count, cores = len(runs), len(os.sched_getaffinity(0))
    figures = []
    for lab, one, used in zip(LABS, alone[0], alone[1], strict=True):
        many = seconds_of(runs, lab) or [0.0]
        against = f"one alone, {one.seconds:.1f} s"
        words = {"fastest": min(many), "median": statistics.median(many), "slowest": max(many)}
        for word, value in words.items():
            figures.append(Figure(f"{lab}, {word} of {count}", value, "s", "", True, against, 1))
        ratio = max(many) / one.seconds
        figures.append(Figure(f"{lab}, slowest ÷ alone", ratio, "×", "", True, against, 1))
        least = max(used * count / cores, one.seconds)
        ratio, against = max(many) / least, f"{count} × {used:.1f} s of {cores} processors"
        name = f"{lab}, slowest ÷ what the processors allow"
        figures.append(Figure(name, ratio, "×", "", True, against, 1))
    ratio = together.ours / count / sum(alone[1])
    against = f"one alone, {sum(alone[1]):.1f} s"
    name, goal = "processor seconds of a learner ÷ of one alone", f"at most {SLACK:g}"
    figures.append(Figure(name, ratio, "×", goal, ratio <= SLACK, against, 1))
    name, against = "processors' time that others took", f"{together.seconds:.0f} s"
    figures.append(Figure(name, 100 * together.others / cores, "%", "", True, against, 1))
    failed = sum(len(seconds_of([run], lab)) == 0 for run in runs for lab in LABS)
    figures.append(Figure("labs that failed", failed, "", "none", failed == 0, "", 1))
    for part in PARTS:
        name = f"memory of {part}, {tenants} tenants"
        figures.append(Figure(name, peak.get(part, 0.0), "MB", "", True, "", 1))
    total = sum(peak.values()) / count
    figures.append(Figure("memory for each learner", total, "MB", "", True, "", 1))
    return figures


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=12)
    parser.add_argument("--tenants", default="own", choices=("own", "shared"))
    asked = parser.parse_args()
    curriculum = load()
    labs = curriculum.pick(LABS)
    folder = Path(tempfile.mkdtemp(prefix="classroom-")) / "class"
    try:
        more = ("--students", str(asked.students + 1), "--tenants", asked.tenants)
        labs_class(folder, *more, "--prepare-only", "--keep")
        course = Class(folder, curriculum)
        *learners, first = course.names()
        alone = course.alone(first, labs)
        if [one.status for one in alone[0]] != [PASSED] * len(labs):
            raise SystemExit(f"The one alone failed: {alone[0][-1].error}")
        memory = Memory(folder / "platform")
        memory.start()
        together = Together(folder / "platform")
        with together, ThreadPoolExecutor(len(learners)) as pool:
            runs = list(pool.map(lambda name: course.run(name, labs), learners))
        memory.stopped.set()
        memory.join()
        for name, run in zip(learners, runs, strict=True):
            times = "  ".join(f"{one.lab} {one.status} {one.seconds:6.1f} s" for one in run)
            print(f"{name:<12} {times}")
            if run[-1].error:
                print(f"{'':<12} {run[-1].error['name']}: {run[-1].error['text'][:300]}")
        figures = figures_of(alone, runs, together, memory.peak, asked.tenants)
    finally:
        labs_class(folder, "--down")
        shutil.rmtree(folder.parent, ignore_errors=True)
    save("classroom", figures)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
