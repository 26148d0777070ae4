"""Deployments while callers call: the next build, one that does not load, an older one, scaling."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from labsandbox.client.resources import DEPLOYMENTS, HPAS, PODS
from tests.labapps.pods import eventually
from tests.labapps.workbench import Callers, Workbench

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

GOOD = """
import os
from labapps.workbench import track

def predict(request):
    track.metric("build", {number})
    return {{"build": {number}, "pid": os.getpid(), "mode": os.environ.get("MODE", "")}}
"""
CHOOSY = """
import os

if os.environ.get("MODE") == "broken":
    raise RuntimeError("no such mode")

def predict(request):
    return {"mode": os.environ.get("MODE", ""), "pid": os.getpid()}
"""
BUSY = """
import time

def predict(request):
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    return 1
"""


def pods(bench: Workbench, deployment: str) -> list[Any]:
    label = f"workbench.labs/deployment={deployment.rpartition('/')[2]}"
    return bench.cluster.list(PODS, bench.namespace, labels=label)


def replace(bench: Workbench, project: str, builds: str, text: str) -> Any:
    bench.ask("PUT", f"/projects/{project}/files/predict.py", data=text.encode())
    return bench.build(builds)


def kill(bench: Workbench, deployment: str, pid: int) -> None:
    """Kill a replica as the kernel does when memory ends, and wait for another one."""
    before = bench.ask("GET", deployment)["ready_replicas"]
    os.kill(pid, signal.SIGKILL)
    eventually(
        "the replica to be replaced",
        lambda: (
            all(
                status["ready"] and status["restartCount"] >= (1 if number == 0 else 0)
                for number, status in enumerate(
                    sorted(
                        (p["status"]["containerStatuses"][0] for p in pods(bench, deployment)),
                        key=lambda status: -status["restartCount"],
                    )
                )
            )
            and bench.ask("GET", deployment)["ready_replicas"] == before
        ),
        60,
    )


def redeploy(bench: Workbench, name: str, rounds: int, *, kills: bool) -> None:
    """Replace a deployment again and again while 32 callers call it."""
    project = bench.project(name, predict__py=GOOD.format(number=0))
    builds, made, first = bench.model(project, name)
    paths = [bench.deploy(builds, first, replicas=2)]
    with Callers(bench, made["access_key"]) as callers:
        callers.after(64)
        for number in range(1, rounds + 1):
            build = replace(bench, project, builds, GOOD.format(number=number))
            paths.append(bench.deploy(builds, build, replicas=2))
            bench.deployed(paths[-2], "stopped")
            callers.after(64)
            if kills:
                _, last = callers.answers[-1]
                kill(bench, paths[-1], last["response"]["prediction"]["pid"])
                bench.end(signal.SIGKILL)
                bench.start()
                callers.after(64)
        # A build that does not load leaves the present one serving, and says why.
        bad = replace(bench, project, builds, "import nowhere\n")
        broken = bench.deploy(builds, bad, "failed")
        assert "No module named 'nowhere'" in bench.ask("GET", broken)["reason"]
        assert bench.ask("GET", paths[-1])["status"] == "deployed"
        # The way back is a deployment of the older build.
        paths.append(bench.deploy(builds, first, replicas=2))
        bench.deployed(paths[-2], "stopped")
        callers.after(64)
    assert callers.broken == 0 or kills
    answers = callers.judge()
    order = list(dict.fromkeys(one["model_deployment_crn"] for one in answers))
    assert [crn.rpartition("/")[2] for crn in order] == [p.rpartition("/")[2] for p in paths]
    numbers = {one["prediction"]["build"] for one in answers}
    assert numbers == set(range(rounds + 1))
    assert answers[-1]["prediction"]["build"] == 0
    bench.ask("POST", f"{paths[-1]}:stop")
    bench.deployed(paths[-1], "stopped")


def test_no_call_of_32_callers_fails_or_loses_its_metrics_while_builds_change(
    bench: Workbench,
) -> None:
    redeploy(bench, "gapless", 1, kills=False)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_no_call_fails_while_builds_change_and_replicas_and_service_are_killed(
    bench: Workbench,
) -> None:
    redeploy(bench, "gapless-long", 4, kills=True)


def test_deployment_is_scaled_changed_restarted_and_a_bad_change_is_undone(
    bench: Workbench,
) -> None:
    project = bench.project("change", predict__py=CHOOSY)
    builds, made, build = bench.model(project, "change")
    path = bench.deploy(builds, build, environment={"MODE": "one"})

    def call() -> Any:
        reply = bench.call(made["access_key"], {})
        assert reply.status_code == 200, reply.text
        return reply.json()["response"]["prediction"]

    first = call()
    assert first["mode"] == "one"
    bench.ask("PATCH", path, {"replicas": "2"})
    eventually("two replicas", lambda: bench.ask("GET", path)["ready_replicas"] == 2, 60)
    assert bench.ask("GET", path)["status"] == "deployed"
    eventually("the second to answer", lambda: call()["pid"] != first["pid"], 30)
    crn = bench.ask("GET", path)["crn"]
    label = f'{{model_deployment_crn="{crn}",project_id="{project}"'
    window = {"modelDeploymentCrn": bench.ask("GET", path)["crn"]}
    for metrics in ({"psi": 9.0}, {"psi": 0.3, "note": "x", "a b": 1}):
        body = window | {"metrics": metrics}
        bench.session.post(f"{bench.url}/track-aggregate-metrics", json=body).raise_for_status()
    lines = bench.session.get(f"{bench.url}/metrics").text.splitlines()
    of_drift = [line for line in lines if line.startswith(f"workbench_aggregate{label}")]
    assert of_drift == [f'workbench_aggregate{label},name="psi"}} 0.3'], "the newest, and numbers"
    assert f"workbench_replicas_ready{label}}} 2" in lines
    bench.ask("PATCH", path, {"replicas": 1})
    eventually("one replica", lambda: len(pods(bench, path)) == 1, 60)

    bench.ask("PATCH", path, {"environment": {"MODE": "broken"}})
    found = eventually(
        "the change to be undone",
        lambda: (now := bench.ask("GET", path))["status"] == "deployed" and now,
        90,
    )
    assert "RuntimeError: no such mode" in found["reason"]
    assert found["environment"] == '{"MODE": "one"}'
    assert call()["mode"] == "one"
    bench.ask("PATCH", path, {"environment": {"MODE": "two"}})
    bench.deployed(path)
    eventually("the new environment", lambda: call()["mode"] == "two", 30)

    bench.ask("POST", f"{path}:stop")
    bench.deployed(path, "stopped")
    page = bench.session.get(f"{bench.url}/metrics").text
    assert f"workbench_aggregate{label}" not in page, "nobody is paged for what is stopped"
    assert f"workbench_calls_total{label}" in page
    refusal = bench.ask("PATCH", path, {"replicas": 2}, 400)
    assert (refusal["code"], ":restart" in refusal["message"]) == (9, True)
    bench.ask("POST", f"{path}:restart")
    bench.deployed(path)
    assert call()["mode"] == "two"
    bench.ask("POST", f"{path}:stop")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"replicas": 0}, "replicas must be a number from 1"),
        ({"replication_policy": {"type": "magic"}}, "must be"),
        ({"replication_policy": {"type": "autoscale", "most": 2}}, "found most"),
        ({"replication_policy": {"type": "autoscale", "min_replicas": 3}}, "at least min_replicas"),
    ],
)
def test_policy_that_cannot_be_meant_is_refused(bench: Workbench, body: Any, words: str) -> None:
    name = f"policy-{abs(hash(words))}"
    project = bench.project(name, predict__py="def predict(request):\n    return 1\n")
    builds, _, build = bench.model(project, name)
    found = bench.ask("POST", f"{builds}/{build['id']}/deployments", body, 400)
    assert words in found["message"]


def test_autoscaler_has_the_limits_of_the_policy_and_keeps_its_own_number(
    bench: Workbench,
) -> None:
    project = bench.project("auto", predict__py="def predict(request):\n    return 1\n")
    builds, _, build = bench.model(project, "auto")
    policy = {"type": "autoscale", "min_replicas": 2, "max_replicas": 3, "target_cpu_percent": 50}
    path = bench.deploy(builds, build, replication_policy=policy)
    name = f"model-{path.rpartition('/')[2]}"
    spec = (bench.cluster.get(HPAS, name, bench.namespace) or {})["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 3)
    target = {"type": "AverageValue", "averageValue": "250m"}
    assert spec["metrics"][0]["resource"]["target"] == target
    # What the autoscaler decided stays when the workbench starts anew.
    bench.cluster.end("controllers")
    try:
        bench.cluster.patch(DEPLOYMENTS, name, bench.namespace, {"spec": {"replicas": 3}})
        bench.end(signal.SIGKILL)
        bench.start()
        eventually("its replicas", lambda: bench.ask("GET", path)["ready_replicas"] == 2, 60)
        deployment = bench.cluster.get(DEPLOYMENTS, name, bench.namespace) or {}
        assert deployment["spec"]["replicas"] == 3
    finally:
        bench.cluster.start("controllers")
    bench.ask("PATCH", path, {"replicas": 1})
    eventually("one replica", lambda: len(pods(bench, path)) == 1, 60)
    assert bench.cluster.get(HPAS, name, bench.namespace) is None
    bench.ask("POST", f"{path}:stop")


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_replicas_follow_the_load_up_and_down(bench: Workbench) -> None:
    project = bench.project("load", predict__py=BUSY)
    builds, made, build = bench.model(project, "load")
    policy = {"type": "autoscale", "max_replicas": 3, "target_cpu_percent": 40}
    path = bench.deploy(builds, build, replication_policy=policy | {"scale_down_seconds": 0})

    def ready() -> int:
        return int(bench.ask("GET", path)["ready_replicas"])

    with Callers(bench, made["access_key"], 8) as callers:
        eventually("more replicas under load", lambda: ready() > 1, 180)
    callers.judge()
    eventually("one replica without load", lambda: ready() == 1, 180)
    bench.ask("POST", f"{path}:stop")
