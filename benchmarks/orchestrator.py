"""Measure Airflow as the labs run it: ready, memory, a chain of empty tasks, and a story with jobs.

    python -m benchmarks.orchestrator [--tasks 8] [--platform FILE | --alone]

First a pod with Airflow alone: a chain of tasks that do nothing, against `airflow dags test` of the
same file. Then the platform of the workshop, with labs mlops/01 to 04 done (they are replayed, or
FILE names the settings of a platform where they are): bare jobs in a chain, the pipeline as a DAG
against the same jobs started by hand, and labs mlops/05 and 06 from the failure to the repair.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks.report import Figure, save
from labapps.airflow import keys, settings
from labapps.member.configmeta import Configmeta
from labapps.member.place import Place
from labrunner.sandbox import settings_of
from tests.labapps.orchestrator import PYTHON
from tests.labapps.pods import Cluster, eventually, running
from tests.labapps.test_airflow import AirflowPod, Api
from tests.labs.after.mlops import Air
from tests.labs.platform import Platform
from tests.labs.prepared import passed_before
from tests.repo.tree import ROOT

CHAIN = """
from airflow.sdk import chain, dag, task

@dag(dag_id="empty", schedule=None)
def empty():
    @task
    def nothing():
        pass

    chain(*(nothing.override(task_id=f"t{{number}}")() for number in range({tasks})))

empty()
"""
IMPORTS = """
import runpy, sys, time
import airflow.sdk
begun = time.process_time()
runpy.run_path(sys.argv[1])
print(time.process_time() - begun)
"""
GOOD = "ENGINE_SUCCEEDED"
ENDED = {GOOD, "ENGINE_FAILED", "ENGINE_STOPPED", "ENGINE_TIMEDOUT", "ENGINE_SKIPPED"}
PATIENCE = 3600.0
Figures = list[Figure]


def limit(name: str, value: float, unit: str, most: float, against: str) -> Figure:
    return Figure(name, value, unit, f"at most {most:g}", value <= most, against, 1)


def told(name: str, value: float, unit: str, against: str) -> Figure:
    return Figure(name, value, unit, "printed", True, against, 1)


def took(run: dict[str, Any]) -> float:
    """Return the seconds from the start of a DAG run to its end."""
    begun, ended = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return (ended - begun).total_seconds()


def weight(pod: AirflowPod) -> tuple[float, int]:
    """Return the gigabytes (PSS) and the number of a pod's processes."""
    assert pod.process is not None
    parent = psutil.Process(pod.process.pid)
    sizes = [one.memory_full_info().pss for one in [parent, *parent.children(recursive=True)]]
    return sum(sizes) / 1e9, len(sizes)


def alone(folder: Path, tasks: int) -> Figures:
    """Measure Airflow in a pod without a platform."""
    made = Cluster(folder, "airflow", {})
    pod = AirflowPod(made, "controller", 0)
    made.pods["controller"] = [pod]
    begun = time.perf_counter()
    with running(made):
        made.settle(PATIENCE)
        ready = time.perf_counter() - begun
        gigabytes, processes = weight(pod)
        dags = made.repository / "airflow" / "test-airflow" / "dags"
        (dags / "empty.py").write_text(CHAIN.format(tasks=tasks))
        api = Api(pod)
        eventually("the DAG", lambda: known(api, "empty"), PATIENCE)
        api.ask("dags/empty", {"is_paused": False}, "PATCH")
        runs = [ended(api, "empty") for _ in range(2)]  # the first imports what all others use
        tested = dags_test(pod, "empty")
    own = f"{processes} processes; load {os.getloadavg()[0]:.1f}"
    against = f"`airflow dags test` {tested / tasks:.2f} s a task, its start included"
    return [
        limit("Airflow is ready, its database made", ready, "s", 35, own),
        limit("memory of an idle Airflow (PSS)", gigabytes, "GB", 1.0, own),
        limit(f"a chain of {tasks} empty tasks", took(runs[-1]) / tasks, "s a task", 1.3, against),
    ]


def known(api: Api, dag: str) -> bool:
    return any(one["dag_id"] == dag for one in api.ask("dags")["dags"])


def ended(api: Api, dag: str) -> dict[str, Any]:
    """Run a DAG to its end."""
    run = api.run(dag)

    def look() -> dict[str, Any]:
        found: dict[str, Any] = api.ask(f"dags/{dag}/dagRuns/{run}")
        return found if found["state"] in ("success", "failed") else {}

    found: dict[str, Any] = eventually("the run to end", look, PATIENCE)
    if found["state"] != "success":
        raise RuntimeError(f"Expected a run that succeeds; found {found['state']}.")
    return found


def dags_test(pod: AirflowPod, dag: str) -> float:
    """Return the seconds of a run without a scheduler, in the pod's own settings."""
    place = Place(str(pod.root), pod.ip, pod.cluster.repository)
    meta = Configmeta((pod.root / "etc/guestconfig/configmeta.json").read_bytes())
    secrets = keys.keys(settings.home(place))
    env = settings.environment(place, meta, secrets) | {"PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    words = [str(PYTHON), "-m", "airflow", "dags", "test", dag]
    done = subprocess.run(words, env=env, cwd=pod.root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return time.perf_counter() - begun


class Bench:
    """The workbench of the labs, and the project that they made."""

    def __init__(self, url: str, http: requests.Session) -> None:
        self.url, self.http = url, http
        (self.project,) = [
            one["id"]
            for one in self.ask("GET", "/projects?page_size=100")["projects"]
            if one["name"] == "loans"
        ]
        self.path = f"/projects/{self.project}/jobs"
        listed = self.ask("GET", f"{self.path}?page_size=100")["jobs"]
        self.jobs: dict[str, dict[str, Any]] = {one["name"]: one for one in listed}

    def ask(self, verb: str, path: str, **more: Any) -> Any:
        answer = self.http.request(verb, f"{self.url}/api/v2{path}", timeout=120, **more)
        answer.raise_for_status()
        return answer.json()

    def run(self, job: str, **body: Any) -> None:
        """Run a job and all that follow it, to the end of the last one."""
        run = self.ask("POST", f"{self.path}/{job}/runs", json=body)["id"]
        path = f"{self.path}/{job}/runs/{run}?tree=1"

        def look() -> set[str]:
            found = states(self.ask("GET", path))
            return found if found <= ENDED else set()

        if (found := eventually("the runs to end", look, PATIENCE)) != {GOOD}:
            raise RuntimeError(f"Expected runs that succeed; found {', '.join(found)}.")

    def chain_of_empty(self, tasks: int) -> float:
        """Return the seconds of a chain of jobs that do nothing."""
        self.ask("PUT", f"/projects/{self.project}/files/empty.py", data=b"pass\n")
        parent: dict[str, str] = {}
        made = []
        for number in range(tasks):
            body = {"name": f"empty {number}", "script": "empty.py", "cpu": 0.5, "memory": 0.5}
            made.append(self.ask("POST", self.path, json=body | parent)["id"])
            parent = {"parent_job_id": made[-1]}
        begun = time.perf_counter()
        self.run(made[0])
        spent = time.perf_counter() - begun
        for job in reversed(made):
            self.ask("DELETE", f"{self.path}/{job}")
        return spent


def states(tree: dict[str, Any]) -> set[str]:
    found = {str(tree["status"])}
    for child in tree.get("children", []):
        found |= states(child)
    return found


def with_jobs(platform: Platform, tasks: int) -> Figures:
    """Compare the pipeline as a DAG with its jobs started by hand, each after the one before."""
    with platform.signed_in(f"workbench-{platform.user}", 10001) as (url, http):
        bench = Bench(url, http)
        empty = bench.chain_of_empty(tasks)
        air, bare, dag = Air(platform), [], []
        for _ in range(2):
            begun = time.perf_counter()
            bench.run(bench.jobs["load"]["id"], arguments="2024-02.csv")
            bench.run(bench.jobs["train"]["id"])
            bench.run(bench.jobs["report"]["id"])
            bare.append(time.perf_counter() - begun)
            dag.append(run_of_loans(air))
    ratio = min(dag) / min(bare)
    against = f"{min(dag):.0f} s as a DAG, {min(bare):.0f} s without Airflow; the better of two"
    file = platform.repository / "airflow" / f"airflow-{platform.user}" / "dags" / "loans.py"
    return [
        limit("the labs' DAG file beyond airflow.sdk", imports(file), "CPU s", 0.5, "every task"),
        told(f"a chain of {tasks} empty jobs", empty / tasks, "s a job", "each is a pod"),
        limit("six jobs as a DAG over the same jobs by hand", ratio, "times", 1.5, against),
    ]


def imports(dag: Path) -> float:
    """Return the processor seconds that a DAG file adds to the start of each task."""
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {"AIRFLOW_HOME": home, "PYTHONPATH": str(ROOT)}
        words = [str(PYTHON), "-W", "ignore", "-c", IMPORTS, str(dag)]
        told = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    return float(told.stdout.splitlines()[-1])


def run_of_loans(air: Air) -> float:
    """Run the DAG of the labs with its good month; return its seconds."""
    url = f"{air.address}/api/v2/dags/loans/dagRuns"
    body = {"logical_date": None, "conf": {"batch": "2024-02.csv"}}
    made = air.http.post(url, json=body, timeout=120)
    made.raise_for_status()
    path = f"{url}/{made.json()['dag_run_id']}"

    def look() -> dict[str, Any]:
        found: dict[str, Any] = air.http.get(path, timeout=120).json()
        return found if found["state"] in ("success", "failed") else {}

    found: dict[str, Any] = eventually("the DAG run", look, PATIENCE)
    if found["state"] != "success":
        raise RuntimeError(f"Expected a green run of the good month; found {found['state']}.")
    return took(found)


def story(platform: Platform, folder: Path) -> Figures:
    """Replay the failure and the repair."""
    file = folder / "platform.env"
    file.write_text("\n".join(f"{name}={value!r}" for name, value in platform.settings.items()))
    program = str(Path(sys.executable).with_name("labs"))
    words = [program, "replay", "--only", "mlops/05,mlops/06", "--platform", str(file)]
    done = subprocess.run(
        [*words, "--out", str(folder / "story")], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-1000:])
    labs = json.loads((folder / "story" / "report.json").read_text("utf-8"))["labs"]
    seconds = {one["lab"]: float(one["seconds"]) for one in labs}
    against = ", ".join(f"{lab} {spent:.0f} s" for lab, spent in seconds.items())
    return [limit("failure and repair, labs 05 and 06", sum(seconds.values()), "s", 240, against)]


@contextmanager
def platform_of(file: Path | None, folder: Path) -> Iterator[Platform]:
    """Give the platform that was named, or one on which labs mlops/01 to 04 are replayed."""
    if file is None:
        with passed_before("mlops/05", folder) as platform:
            yield platform
    else:
        found = settings_of(file)
        yield Platform(Path(found["LABSANDBOX_STATE"]), found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--platform", type=Path)
    parser.add_argument("--alone", action="store_true", help="only what needs no platform")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = alone(folder / "alone", given.tasks)
        if not given.alone:
            with platform_of(given.platform, folder) as platform:
                figures += with_jobs(platform, given.tasks)
                figures += story(platform, folder)
    load = os.getloadavg()
    figures.append(told("load of this machine", load[2], "programs", "mean of 15 minutes"))
    save("orchestrator", figures)


if __name__ == "__main__":
    main()
