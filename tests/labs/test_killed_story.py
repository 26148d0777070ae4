"""Parts of the pipeline's platform are killed with -9 at random seconds: each run ends as it would.

The labs before the failure are replayed. Then a DAG with the jobs of the labs loads one new month
after the other; each time one program is killed at a second that nobody chose. The tasks have
retries, as in production; a retry adopts the run that goes on. Each month must be in the table
exactly once, every loan must be accounted for, and the endpoint must serve what it served.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from labdata import loans
from tests.labapps.pods import eventually
from tests.labs.after.mlops import MONTH, Air, project, read, rows_of
from tests.labs.platform import Platform
from tests.labs.prepared import passed_before
from tests.processes import words_of
from tests.sandbox.platform.program import labsandbox

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(5400)]
LONG = 2400.0
DAG = """
from datetime import timedelta
from airflow.sdk import dag
from labapps.airflow.provider.operator import RunJobOperator
from tests.processes import words_of


def job(name, **more):
    return RunJobOperator(task_id=name, project="loans", job=name, retries=5,
                          retry_delay=timedelta(seconds=1), **more)


@dag(dag_id="killed", schedule=None, max_active_runs=1, params={"batch": ""})
def killed():
    load = job("load", arguments="{{ params.batch }}", deferrable=False)
    load >> job("train") >> job("report", deferrable=False)


killed()
"""


@dataclass
class Pipeline:
    """The platform, its Airflow, and how long a run takes that nobody disturbs."""

    platform: Platform
    air: Air
    months: Iterator[str]
    seconds: float = 60.0

    def ask(self, verb: str, path: str, **more: Any) -> Any:
        """Ask Airflow, again where it is away for a moment."""

        def answer() -> Any:
            reply = self.air.http.request(
                verb, f"{self.air.address}/api/v2/{path}", timeout=120, **more
            )
            reply.raise_for_status()
            return {"found": reply.json()}

        return eventually(f"{verb} {path}", answer, LONG)["found"]

    def start(self) -> str:
        """Lay a new month into the project, and start the DAG with it."""
        month = next(self.months)
        batch, _ = loans.batch("good", month, MONTH, 7)
        batch.to_csv(project(self.platform) / f"{month}.csv", index=False)
        body = {"logical_date": None, "conf": {"batch": f"{month}.csv"}}
        return str(self.ask("POST", "dags/killed/dagRuns", json=body)["dag_run_id"])

    def ended(self, run: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            found: dict[str, Any] = self.ask("GET", f"dags/killed/dagRuns/{run}")
            return found if found["state"] in ("success", "failed") else {}

        found: dict[str, Any] = eventually(f"run {run} to end", look, LONG)
        return found

    def facts(self, run: str) -> dict[str, Any]:
        path = f"dags/killed/dagRuns/{run}/taskInstances/train/xcomEntries/return_value"
        found: dict[str, Any] = self.ask("GET", f"{path}?deserialize=true")["value"]
        return found


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with passed_before("mlops/05", tmp_path_factory.mktemp("killed")) as platform:
        dags = platform.repository / "airflow" / f"airflow-{platform.user}" / "dags"
        (dags / "killed.py").write_text(DAG)
        months = (f"{year}-{month:02}" for year in range(2025, 2035) for month in range(1, 13))
        made = Pipeline(platform, Air(platform), months)
        made.ask("PATCH", "dags/killed", json={"is_paused": False})
        yield made


def of_platform(platform: Platform, module: str) -> psutil.Process:
    """Return the process of a platform that runs a module: of its own, or in one of its pods."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = process.info["cmdline"] or []
        places = [*words, (process.info["environ"] or {}).get("POD_ROOT", "")]
        if module in words and any(str(platform.state) in place for place in places):
            found.append(process)
    assert len(found) == 1, f"{module}: {found}"
    return found[0]


def of_airflow(platform: Platform, words: str) -> psutil.Process:
    """Return a process below the parent of Airflow's components: any that has these words."""
    below = of_platform(platform, "labapps.airflow").children(recursive=True)
    return random.choice([one for one in below if words in command_of(one)])


def worker(platform: Platform) -> psutil.Process:
    """Return a worker of the executor, one with a task where there is one."""
    below = of_platform(platform, "labapps.airflow").children(recursive=True)
    workers = [one for one in below if "LocalExecutor" in command_of(one)]
    busy = [one for one in workers if "<idle>" not in command_of(one)]
    return random.choice(busy or workers)


def command_of(process: psutil.Process) -> str:
    """Return the command line of a process; none when it has ended meanwhile."""
    return " ".join(words_of(process))


def pod_of_a_job(platform: Platform) -> psutil.Process:
    """Return the process in the pod of a job's run; wait for the next one where none runs."""

    def look() -> psutil.Process | None:
        for process in psutil.process_iter(["cmdline", "environ"]):
            root = (process.info["environ"] or {}).get("POD_ROOT", "")
            words = process.info["cmdline"] or []
            if "labapps.workbench.program" in words and str(platform.state) in root:
                return process
        return None

    found: psutil.Process = eventually("a run of a job", look, 120)
    return found


VICTIMS: dict[str, Callable[[Platform], psutil.Process]] = {
    "scheduler": lambda platform: of_airflow(platform, "scheduler"),
    "triggerer": lambda platform: of_airflow(platform, "triggerer"),
    "API server": lambda platform: of_airflow(platform, "api_server"),
    "worker": worker,
    "workbench": lambda platform: of_platform(platform, "labapps.workbench"),
    "pod of a job": pod_of_a_job,
    # One process has the node agent, the controllers and the gateway; `labsandbox up` starts it.
    "node agent": lambda platform: of_platform(platform, "labsandbox.platform"),
}


def test_run_that_nobody_disturbs_says_how_long_it_takes(pipeline: Pipeline) -> None:
    begun = time.monotonic()
    assert pipeline.ended(pipeline.start())["state"] == "success"
    pipeline.seconds = time.monotonic() - begun


@pytest.mark.parametrize("name", VICTIMS)
def test_killed_program_changes_nothing_of_what_comes_out(pipeline: Pipeline, name: str) -> None:
    before = rows_of(pipeline.platform, "main")
    version = read(pipeline.platform, "deployed.json")["version"]
    run, delay = pipeline.start(), random.uniform(0, pipeline.seconds)
    victims: list[psutil.Process] = []

    def strike() -> None:
        victims.append(VICTIMS[name](pipeline.platform))
        victims[0].kill()

    killer = threading.Timer(delay, strike)
    killer.start()
    killer.join()
    words = f"{name}, killed {delay:.1f} s after the start of {run}"
    print(words)
    (victim,) = victims
    if name == "node agent":
        labsandbox("up", "--state", str(pipeline.platform.state), "--detach")
    assert pipeline.ended(run)["state"] == "success", words
    assert rows_of(pipeline.platform, "main") - before == MONTH, words
    facts = pipeline.facts(run)
    assert facts["rows_in"] == facts["rows_scored"] + facts["rows_refused"] == MONTH, words
    assert facts["calls_failed"] == 0, words
    assert read(pipeline.platform, "deployed.json")["version"] == version, words
    victim.wait(60)
    if name == "pod of a job":  # the run is over; the task's next try had a pod of its own
        return
    eventually("its successor", lambda: is_back(pipeline.platform, name), 300)


def is_back(platform: Platform, name: str) -> bool:
    """Tell whether a program runs again; while it starts there is none, or there are two."""
    with contextlib.suppress(AssertionError, IndexError, psutil.NoSuchProcess):
        return VICTIMS[name](platform).is_running()
    return False
