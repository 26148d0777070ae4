"""A class at its hub: each learner signs in, opens JupyterLab and works through labs there.

    python -m benchmarks.hub [--students 12] [--labs core/01,core/02,core/03] [--peaceful]

`labs class` opens the class, hub and platform on this host. First one learner works alone. Then all
others sign in at the same moment, and with them one who takes what there is: an endless Spark job,
and a list that grows until the memory is gone. Compared: the slowest with the median, and how long
the first page took. Everything goes through the hub's own pages, cookies and websockets.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.report import Figure, save
from labrunner.curriculum import load
from tests.classroom_folder import free_port
from tests.hub.person import Person

FAIR, FIRST_PAGE = 1.5, 10.0
LABS = "core/01,core/02,core/03"
SPARK = """from labhelpers import spark_session
spark_session("runaway").range(10**13).selectExpr("sum(hash(id) % 7)").collect()"""
MEMORY = """kept = []
while True:
    kept.append(b"x" * 10**8)"""


@dataclass
class Learner:
    """One person at the hub, and how long each thing took."""

    person: Person
    labs: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    def work(self) -> Learner:
        """Sign in, open JupyterLab, run the labs; stop at what fails."""
        try:
            with self.timed("first page"):
                self.person.sign_in()
                self.person.start_server(300)
            for lab, notebook in self.labs.items():
                with self.timed(lab):
                    self.run(notebook)
        except Exception as error:
            self.failed = f"{type(error).__name__}: {error}"[:600]
        return self

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Keep how long something took, once it succeeded."""
        begun = time.monotonic()
        yield
        self.seconds[what] = time.monotonic() - begun

    def run(self, notebook: str) -> None:
        """Run a notebook's cells one after the other, as `Run all` does."""
        cells = self.person.get(f"api/contents/notebooks/{notebook}").json()["content"]["cells"]
        kernel = self.person.kernel(f"notebooks/{notebook}")
        try:
            for cell in cells:
                if cell["cell_type"] == "code":
                    said = kernel.run("".join(cell["source"]), 2400, answer=self.person.password)
                    if kernel.failed:
                        raise RuntimeError(f"{notebook}: {said[-400:]}")
        finally:
            kernel.close()
            self.person.end(kernel)

    def run_away(self) -> Learner:
        """Take all processors with Spark, then the memory with a list, again and again."""
        self.person.sign_in()
        self.person.start_server(300)
        spark = self.person.kernel()
        threading.Thread(target=lambda: _ignore(spark.run, SPARK, 3000), daemon=True).start()
        kernel = self.person.kernel()
        _ignore(kernel.run, MEMORY, 120)
        return self


def _ignore(action: object, *words: object) -> None:
    with contextlib.suppress(Exception):  # the kernel ends: that is what it is for
        action(*words)  # type: ignore[operator]


@contextlib.contextmanager
def class_of(students: int, folder: Path) -> Iterator[dict[str, str]]:
    """Hold a class; return the learners' passwords by name."""
    program = str(Path(sys.executable).with_name("labs"))
    words = ["--students", str(students), "--folder", str(folder), "--port", str(free_port())]
    ours = ("EZMERAL", "LABSANDBOX")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    log = folder.parent / "class.log"
    with log.open("w") as out:
        held = subprocess.Popen([program, "class", *words], env=clean, stdout=out, stderr=out)
    try:
        while "Ctrl-C ends the class" not in (said := log.read_text()):
            if held.poll() is not None:
                raise SystemExit(said)
            time.sleep(0.5)
        print(said, flush=True)
        with (folder / "credentials.csv").open() as sheet:
            yield {
                r["name"]: r["password"] for r in csv.DictReader(sheet) if r["role"] == "student"
            }
    finally:
        held.send_signal(signal.SIGINT)
        held.wait(120)


def held_by(folder: Path) -> dict[str, float]:
    """Return the megabytes of the learners' servers with all they started, and of the hub."""
    mine = psutil.Process().pid
    seen = {"learners' servers": 0.0, "hub": 0.0, "platform and pods": 0.0}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if process.pid == mine or str(folder) not in " ".join(environment.values()):
                continue
            part = "hub"
            if environment.get("LABS_FOLDER", "").startswith(str(folder / "homes")):
                part = "learners' servers"
            elif environment.get("POD_ROOT", "").startswith(str(folder)):
                part = "platform and pods"
            seen[part] += process.memory_full_info().pss / 1e6
    return seen


class Peak(threading.Thread):
    """Look every few seconds, and keep the look that saw most."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.stopped = folder, threading.Event()
        self.most: dict[str, float] = {}

    def run(self) -> None:
        while not self.stopped.wait(5):
            seen = held_by(self.folder)
            if sum(seen.values()) > sum(self.most.values()):
                self.most = seen


def figures_of(alone: Learner, class_: list[Learner], most: dict[str, float]) -> list[Figure]:
    """Say what was found."""
    count, figures = len(class_), []
    for what in ("first page", *alone.labs):
        times = [one.seconds[what] for one in class_ if what in one.seconds] or [0.0]
        middle, slowest = statistics.median(times), max(times)
        against = f"one alone, {alone.seconds[what]:.1f} s"
        is_page = what == "first page"
        figures.append(Figure(f"{what}, median of {count}", middle, "s", "", True, against, 1))
        goal = f"at most {FIRST_PAGE:g}" if is_page else ""
        met = not is_page or slowest <= FIRST_PAGE
        figures.append(Figure(f"{what}, slowest", slowest, "s", goal, met, against, 1))
        if not is_page:
            ratio = slowest / middle if middle else 0.0
            goal, met = f"at most {FAIR:g}", 0 < ratio <= FAIR
            figures.append(Figure(f"{what}, slowest ÷ median", ratio, "×", goal, met, "", 1))
    failed = sum(bool(one.failed) for one in class_)
    figures.append(
        Figure("learners who did not get through", failed, "", "none", not failed, "", 1)
    )
    figures += [Figure(f"memory of {what}", mb, "MB", "", True, "", 1) for what, mb in most.items()]
    each = sum(most.values()) / count
    return [*figures, Figure("memory for each learner, all of it", each, "MB", "", True, "", 1)]


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=12)
    parser.add_argument("--labs", default=LABS)
    parser.add_argument("--peaceful", action="store_true", help="nobody takes what there is")
    asked = parser.parse_args()
    labs = {lab.id: f"{lab.file}.ipynb" for lab in load().pick(tuple(asked.labs.split(",")))}
    top = Path(tempfile.mkdtemp(prefix="hub-"))
    folder = top / "class"
    try:
        with class_of(asked.students + 2, folder) as known:
            hub = json.loads((folder / "class.json").read_text())["hub"]["url"]
            *people, last, wild = [Learner(Person(hub, n, p), labs) for n, p in known.items()]
            alone = last.work()
            if alone.failed:
                raise SystemExit(f"The one alone failed: {alone.failed}")
            last.person.stop_server()
            peak = Peak(folder)
            peak.start()
            with ThreadPoolExecutor(len(people) + 1) as pool:
                if not asked.peaceful:
                    pool.submit(wild.run_away)
                class_ = list(pool.map(Learner.work, people))
            peak.stopped.set()
            for one in class_:
                times = "  ".join(f"{what} {seconds:.1f}" for what, seconds in one.seconds.items())
                print(f"{one.person.name:<12} {times} {one.failed}", flush=True)
            if not asked.peaceful:
                notice = (folder / "notices" / f"{wild.person.name}.txt").read_text().strip()
                print(f"{wild.person.name} was told: {notice or 'nothing'}")
            figures = figures_of(alone, class_, peak.most)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    save("hub", figures)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
