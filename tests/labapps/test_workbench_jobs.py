"""Jobs that start by the clock, after another one, again, or in turn; and what kill -9 does."""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labsandbox.client.resources import CRONJOBS, JOBS, PODS
from tests.labapps.pods import eventually
from tests.labapps.workbench import Workbench, pids
from tests.processes import kill

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

WAITS = """
import os, pathlib, time
with open("ran", "a") as file:
    file.write("x")
while not pathlib.Path("go").exists():
    time.sleep(0.05)
"""
Json = Any


def folder(bench: Workbench, project: str) -> Path:
    return bench.repository / "workbench/projects" / project


def runs(bench: Workbench, project: str, job: str) -> list[Json]:
    found = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs?page_size=50")["job_runs"]
    return [run | {"status": run["status"].removeprefix("ENGINE_")} for run in found]


def tick(bench: Workbench, job: str, number: int) -> None:
    """Do what the CronJob controller does when the schedule's moment has come."""
    cron = bench.cluster.get(CRONJOBS, f"job-{job}", bench.namespace)
    assert cron is not None
    meta, template = cron["metadata"], copy.deepcopy(cron["spec"]["jobTemplate"])
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": meta["name"], "uid": meta["uid"]}
    body = {
        "metadata": {
            "name": f"{meta['name']}-{number}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": template["spec"],
    }
    bench.cluster.create(JOBS, body, bench.namespace)


def states(bench: Workbench, project: str, job: str, *expected: str) -> list[Json]:
    def look() -> list[Json] | None:
        found = runs(bench, project, job)
        return found if [run["status"] for run in found] == list(expected) else None

    return list(eventually(f"runs {expected} of {job}", look, 60))


def test_schedule_that_comes_while_a_run_is_active_is_skipped(bench: Workbench) -> None:
    project = bench.project("clock", waits__py=WAITS)
    job = bench.job(project, "waits.py", schedule="0 3 1 1 *", timezone="Europe/Zurich")
    spec = (bench.cluster.get(CRONJOBS, f"job-{job}", bench.namespace) or {})["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 3 1 1 *", "Europe/Zurich")
    tick(bench, job, 1)
    eventually("the first to run", lambda: (folder(bench, project) / "ran").exists())
    tick(bench, job, 2)
    _, second = states(bench, project, job, "RUNNING", "SKIPPED")
    assert "was still active" in second["reason"]
    refusal = bench.ask("POST", f"/projects/{project}/jobs/{job}/runs", {}, 400)
    assert refusal["code"] == 9
    (folder(bench, project) / "go").touch()
    states(bench, project, job, "SUCCEEDED", "SKIPPED")
    # A run by hand keeps the clock away as well.
    (folder(bench, project) / "go").unlink()
    bench.run(project, job)
    tick(bench, job, 3)
    states(bench, project, job, "SUCCEEDED", "SKIPPED", "RUNNING", "SKIPPED")
    (folder(bench, project) / "go").touch()
    states(bench, project, job, "SUCCEEDED", "SKIPPED", "SUCCEEDED", "SKIPPED")
    assert (folder(bench, project) / "ran").read_text() == "xx"
    names = [one["metadata"]["name"] for one in bench.cluster.list(JOBS, bench.namespace)]
    assert f"job-{job}-2" not in names
    found = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs?search_filter="
                      '{"status":"skipped"}')["job_runs"]  # fmt: skip
    assert len(found) == 2


def test_paused_job_does_not_start_and_a_deleted_one_leaves_nothing(bench: Workbench) -> None:
    project = bench.project("paused", waits__py=WAITS)
    job = bench.job(project, "waits.py", schedule="* * * * *")

    def is_paused() -> bool:
        cron = bench.cluster.get(CRONJOBS, f"job-{job}", bench.namespace)
        return bool((cron or {})["spec"]["suspend"])

    assert not is_paused()
    assert bench.ask("PATCH", f"/projects/{project}/jobs/{job}", {"paused": True})["paused"]
    assert is_paused()
    bench.ask("DELETE", f"/projects/{project}/jobs/{job}")
    assert bench.cluster.get(CRONJOBS, f"job-{job}", bench.namespace) is None


@pytest.mark.nightly
def test_clock_starts_a_job_each_minute_and_skips_while_it_runs(bench: Workbench) -> None:
    project = bench.project("minutes", waits__py=WAITS)
    job = bench.job(project, "waits.py", schedule="* * * * *", timezone="Asia/Tokyo")
    eventually("two minutes", lambda: len(runs(bench, project, job)) >= 2, 140)
    assert [run["status"] for run in runs(bench, project, job)] == ["RUNNING", "SKIPPED"]
    (folder(bench, project) / "go").touch()
    eventually("the next one", lambda: len(runs(bench, project, job)) >= 3, 80)
    bench.ask("PATCH", f"/projects/{project}/jobs/{job}", {"paused": True})
    states(bench, project, job, "SUCCEEDED", "SKIPPED", "SUCCEEDED")


CHILD = """
from labapps.workbench import track
print("snapshot", track.inherited()["snapshot"])
"""
PARENT = "from labapps.workbench import track\ntrack.publish('snapshot', 42)\n"


def test_tree_follows_a_run_to_its_grandchildren_and_hands_facts_down(bench: Workbench) -> None:
    project = bench.project("tree", a__py=PARENT, b__py=CHILD, c__py="raise SystemExit(3)\n")
    first = bench.job(project, "a.py")
    second = bench.job(project, "b.py", parent_job_id=first)
    third = bench.job(project, "c.py", parent_id=second)
    last = bench.job(project, "c.py", name="never", parent_id=third)
    assert bench.ask("GET", f"/projects/{project}/jobs/{second}")["type"] == "dependent"
    path = f"/projects/{project}/jobs/{first}/runs/{bench.run(project, first)}?tree=1"

    def leaf() -> Json:
        found = bench.ask("GET", path)
        while found["children"]:
            (found,) = found["children"]
        return found if (found["job_id"], found["status"]) == (third, "ENGINE_FAILED") else None

    failed = eventually("the chain to end", leaf, 60)
    assert "exit code 3" in failed["reason"]
    child = bench.ask("GET", path)["children"][0]
    log = f"/projects/{project}/jobs/{second}/runs/{child['id']}/logs"
    assert bench.ask("GET", log)["logs"] == "snapshot 42\n"
    assert runs(bench, project, last) == []
    cycle = bench.ask("PATCH", f"/projects/{project}/jobs/{first}", {"parent_id": third}, 400)
    assert "depend on itself" in cycle["message"]


AGAIN = """
import pathlib
print("attempt é")
if not pathlib.Path("tried").exists():
    pathlib.Path("tried").touch()
    raise SystemExit(1)
"""


def test_failed_run_is_tried_again_when_the_job_says_so(bench: Workbench) -> None:
    project = bench.project("again", again__py=AGAIN)
    job = bench.job(project, "again.py", retry_enabled=True, max_retry="2")
    run = bench.run(project, job)
    found = bench.ended(project, job, run)
    assert (found["status"], found["attempts"]) == ("ENGINE_SUCCEEDED", 2)
    path = f"/projects/{project}/jobs/{job}/runs/{run}/logs"
    assert bench.ask("GET", path)["logs"] == "attempt é\n" * 2
    assert bench.ask("GET", f"{path}?offset=10")["logs"] == "\nattempt é\n"


LATER = """
import pathlib, time
begun = pathlib.Path("begun")
if not begun.exists():
    begun.write_text(repr(time.time()))
    raise SystemExit(1)
print(time.time() - float(begun.read_text()))
"""


def test_next_attempt_waits_as_long_as_the_job_says(bench: Workbench) -> None:
    project = bench.project("later", later__py=LATER)
    # Longer than the 10 s that Kubernetes leaves by itself.
    job = bench.job(project, "later.py", retry_enabled=True, max_retry=1, retry_delay="13")
    run = bench.run(project, job)
    assert bench.ended(project, job, run)["status"] == "ENGINE_SUCCEEDED"
    log = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs/{run}/logs")["logs"]
    said, between = log.splitlines()
    assert said.endswith("(retry_delay).")
    assert float(between) >= 13


def test_time_out_that_does_not_kill_ends_nothing(bench: Workbench) -> None:
    project = bench.project("patient", slow__py="import time\ntime.sleep(2.5)\n")
    job = bench.job(project, "slow.py", timeout=1, kill_on_timeout=False)
    found = bench.ended(project, job, bench.run(project, job))
    assert found["status"] == "ENGINE_SUCCEEDED"


SHOW = """
import json, os, sys
kept = ("COLOUR", "SIZE", "WORKBENCH_PROJECT", "WORKBENCH_JOB", "WORKBENCH_RUN")
print(json.dumps([sys.argv[1:], {name: os.environ.get(name) for name in kept}]))
"""


def test_run_has_its_own_arguments_and_environment_and_knows_its_ids(bench: Workbench) -> None:
    project = bench.project("words", show__py=SHOW)
    env = {"COLOUR": "red", "SIZE": "1", "WORKBENCH_UNIT": "run-of-another"}
    job = bench.job(project, "show.py", arguments="old", environment=env)
    run = bench.run(project, job, arguments="'a b' c", environment={"SIZE": "2"})
    bench.ended(project, job, run)
    log = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs/{run}/logs")["logs"]
    ids = f'"WORKBENCH_PROJECT": "{project}", "WORKBENCH_JOB": "{job}", "WORKBENCH_RUN": "{run}"'
    assert log == f'[["a b", "c"], {{"COLOUR": "red", "SIZE": "2", {ids}}}]\n'
    again = bench.run(project, job)
    bench.ended(project, job, again)
    log = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs/{again}/logs")["logs"]
    assert log.startswith('[["old"], {"COLOUR": "red", "SIZE": "1"')


@pytest.fixture
def waiting(bench: Workbench, request: pytest.FixtureRequest) -> Iterator[tuple[str, str, str]]:
    """A run that goes on until its file `go` is there."""
    project = bench.project(request.node.name, waits__py=WAITS)
    job = bench.job(project, "waits.py")
    run = bench.run(project, job)
    eventually("its script to run", lambda: (folder(bench, project) / "ran").exists())
    yield project, job, run
    (folder(bench, project) / "go").touch()


def test_killed_pod_of_a_run_fails_it_and_runs_nothing_twice(
    bench: Workbench, waiting: tuple[str, str, str]
) -> None:
    project, job, run = waiting
    label = f"workbench.labs/run={run}"
    (pod,) = bench.cluster.list(PODS, bench.namespace, labels=label)
    kill(*pids(pod["metadata"]["uid"]))
    assert bench.ended(project, job, run)["status"] == "ENGINE_FAILED"
    assert len(bench.cluster.list(PODS, bench.namespace, labels=label)) == 1
    assert (folder(bench, project) / "ran").read_text() == "x"


def test_killed_node_agent_and_service_lose_no_run(
    bench: Workbench, waiting: tuple[str, str, str]
) -> None:
    project, job, run = waiting
    bench.cluster.end("node", signal.SIGKILL)
    bench.end(signal.SIGKILL)
    bench.start()
    queued = bench.job(project, "waits.py", name="queued")
    second = bench.run(project, queued, run_key="k")
    assert bench.run(project, queued, run_key="k") == second
    bench.cluster.start("node", "--allocatable", "cpu=64", "--allocatable", "memory=64Gi")
    (folder(bench, project) / "go").touch()
    assert bench.ended(project, job, run)["status"] == "ENGINE_SUCCEEDED"
    assert bench.ended(project, queued, second)["status"] == "ENGINE_SUCCEEDED"
    assert (folder(bench, project) / "ran").read_text() == "xx"
