"""A task that runs a job of a real workbench ends as its tree of runs did, deferred or not.

What a workbench never answers (a state of another release, errors of the server, a child that is
lost) is played by the stub of `test_operator`.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import Any

import pytest

from labsandbox.client import ApiError
from labsandbox.client.resources import JOBS
from tests.labapps.orchestrator import PYTHON, needs_airflow
from tests.labapps.pods import eventually
from tests.labapps.workbench import Workbench
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600), needs_airflow]

FINE, WRONG, LONG = "print('one')", "raise SystemExit('last words')", "import time; time.sleep(300)"
STOPS_ITSELF = """
import os, time, urllib.request
env = os.environ
path = "/api/v2/projects/{WORKBENCH_PROJECT}/jobs/{WORKBENCH_JOB}/runs/{WORKBENCH_RUN}:stop"
ask = urllib.request.Request(env["URL"] + path.format(**env), method="POST", data=b"")
ask.add_header("Authorization", "Bearer " + env["KEY"])
urllib.request.urlopen(ask, timeout=30)
time.sleep(300)
"""


@dataclass(frozen=True)
class Case:
    """Programs of jobs that follow each other, and how the task must end."""

    programs: tuple[str, ...]
    outcome: str
    sentence: str = ""
    fields: dict[str, Any] = field(default_factory=dict)  # of the first job
    key: str = ""  # in place of the good one


CASES = {
    "succeeded": Case((FINE,), "success"),
    "failed": Case((WRONG,), "failure", "Its last line: last words"),
    "stopped": Case((STOPS_ITSELF,), "failure", "stopped"),
    "timed out": Case((LONG,), "failure", "timed out", {"timeout": 1}),
    "deleted": Case((LONG,), "failure", "ENGINE_UNKNOWN is unknown"),
    "child succeeded": Case((FINE, FINE), "success"),
    "child failed": Case((FINE, WRONG), "failure", "Job job 1, run "),
    "grandchild failed": Case((FINE, FINE, WRONG), "failure", "Job job 2, run "),
    "wrong key": Case((FINE,), "failure", "key is refused", key="another"),
}


@pytest.fixture(scope="module")
def found(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of each task, run by Airflow's own classes."""
    folder = tmp_path_factory.mktemp("operator")
    key = str(bench.session.headers["Authorization"]).removeprefix("Bearer ")
    jobs = {name: made(bench, name, case, key) for name, case in CASES.items()}
    given, result = folder / "given.json", folder / "found.json"
    cases = {name: case.key or key for name, case in CASES.items()}
    given.write_text(json.dumps({"url": bench.url, "cases": cases}))
    env = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    env |= {"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(PYTHON), "-m", "tests.labapps.operator_bench", str(given), str(result)],
            env=env, cwd=ROOT, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            eventually("the tasks to end", lambda: is_over(bench, process, jobs["deleted"]), 540)
        finally:
            process.kill()
            process.wait()
    text = (folder / "log").read_text()
    assert result.exists(), text[-3000:]
    assert key not in text
    return dict(json.loads(result.read_text()))


def made(bench: Workbench, name: str, case: Case, key: str) -> str:
    """Make a project with the chain of jobs of a case; return its first job."""
    project = bench.project(name)
    parent: dict[str, Any] = {"environment": {"URL": bench.url, "KEY": key}} | case.fields
    first = ""
    for number, program in enumerate(case.programs):
        bench.ask("PUT", f"/projects/{project}/files/{number}.py", data=program.encode())
        called = f"job {number}" if number else "first"
        job = bench.job(project, f"{number}.py", name=called, **parent)
        parent, first = {"parent_job_id": job}, first or job
    return first


def is_over(bench: Workbench, process: subprocess.Popen[bytes], deleted: str) -> bool:
    """Tell whether the tasks have ended; delete from Kubernetes what must not end by itself."""
    for one in bench.cluster.list(JOBS, bench.namespace, labels=f"workbench.labs/job={deleted}"):
        try:
            bench.cluster.delete(JOBS, one["metadata"]["name"], bench.namespace)
        except ApiError as error:
            if error.status != 404:  # it has gone meanwhile
                raise
    return process.poll() is not None


@pytest.mark.parametrize("mode", ["blocking", "deferrable"])
@pytest.mark.parametrize("name", CASES)
def test_task_ends_as_the_runs_of_a_workbench_did(
    found: dict[str, Any], name: str, mode: str
) -> None:
    outcome, sentence = found[f"{name}/{mode}"]
    assert outcome == CASES[name].outcome, sentence
    assert CASES[name].sentence in sentence
