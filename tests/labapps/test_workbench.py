"""A workbench that a learner orders: `kubectl apply`, then plain requests through the gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.labapps.pods import eventually
from tests.labapps.workbench import EXAMPLE, Service, ask, order
from tests.sandbox.platform.program import environment, family, labsandbox, until
from tests.sandbox.platform.test_front_door import kubeconfig

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]
TRAIN = """
import sys
from labapps.workbench import track

print("depth", sys.argv[1])
track.publish("rows", 7)
"""
PREDICT = """
from labapps.workbench import track

def predict(request):
    track.metric("size", len(request["values"]))
    return {"sum": sum(request["values"])}
"""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return what a learner is told about a sandbox of this file's own."""
    folder = tmp_path_factory.mktemp("sandbox") / "state"
    labsandbox("up", "--state", str(folder), "--detach", "--students", "1")
    try:
        yield environment(folder)
    finally:
        labsandbox("down", "--state", str(folder))
    assert family(folder) == []


@pytest.fixture(scope="module")
def config(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kubeconfig(env, tmp_path_factory.mktemp("home"), env["EZMERAL_USER"])


@pytest.fixture(scope="module")
def bench(env: dict[str, str], config: Path) -> Iterator[Service]:
    """Order the example, and reach it where the gateway says."""
    with requests.Session() as session:
        yield order(env, config, session)
    ask(config, "delete", "-f", str(EXAMPLE))


def curl(bench: Service, verb: str, path: str, body: Any = None, *more: str) -> Any:
    """Ask as the README does; curl's own exit code says whether the answer was a good one."""
    words = ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]
    words += ["--cacert", str(bench.session.verify), "--max-time", "60", "-X", verb]
    words += ["-H", f"Authorization: {bench.session.headers['Authorization']!s}"]
    if body is not None:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    done = subprocess.run([*words, *more, bench.url + path], capture_output=True, text=True)
    assert done.returncode == 0, f"{verb} {path}: {done.stderr} {done.stdout}"
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_walks_in_the_order_of_a_stranger(bench: Service, tmp_path: Path) -> None:
    """Project, job, run, model, build, deployment, call, metrics, stop."""
    ask = partial(curl, bench)
    project = ask("POST", "/api/v2/projects", {"name": "curl"})["id"]
    home = f"/api/v2/projects/{project}"
    for name, text in (("train.py", TRAIN), ("predict.py", PREDICT)):
        (tmp_path / name).write_text(text)
        ask("PUT", f"{home}/files/{name}", None, "--data-binary", f"@{tmp_path / name}")
    job = ask("POST", f"{home}/jobs", {"name": "train", "script": "train.py", "cpu": "0.5"})
    runs = f"{home}/jobs/{job['id']}/runs"
    run = ask("POST", runs, {"arguments": "5"})

    def is_over() -> Any:
        found = ask("GET", f"{runs}/{run['id']}")
        return found if found["finished_at"] else None

    assert eventually("the run to end", is_over, 60)["status"] == "ENGINE_SUCCEEDED"
    assert ask("GET", f"{runs}/{run['id']}/logs")["logs"] == "depth 5\n"
    model = ask("POST", f"{home}/models", {"name": "sums"})
    builds = f"{home}/models/{model['id']}/builds"
    body: dict[str, Any] = {"file_path": "predict.py", "function_name": "predict"}
    deployments = f"{builds}/{ask('POST', builds, body)['id']}/deployments"
    made = ask("POST", deployments, {"cpu": "0.5", "memory": 1})
    one = f"{deployments}/{made['id']}"

    def is_deployed() -> bool:
        found = ask("GET", one)
        assert found["status"] != "failed", found
        return bool(found["status"] == "deployed")

    eventually("the model to answer", is_deployed, 120)
    body = {"accessKey": model["access_key"], "request": {"values": [1, 2, 3]}}
    response = ask("POST", "/model", body)["response"]
    assert response["prediction"] == {"sum": 6}
    seen = ask("POST", "/read-metrics", {"modelDeploymentCrn": made["crn"]})["metrics"]
    assert [(row["predictionUuid"], row["metrics"]["size"]) for row in seen] == [
        (response["uuid"], 3)
    ]
    assert ask("POST", f"{one}:stop")["status"] == "stopping"
    eventually("the deployment to stop", lambda: ask("GET", one)["status"] == "stopped", 60)


def test_ordered_workbench_walks_from_project_to_metrics(bench: Service, config: Path) -> None:
    refused = requests.get(f"{bench.url}/api/v2/projects", verify=bench.session.verify, timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (401, 16)

    project = bench.project("taxi", train__py=TRAIN, predict__py=PREDICT)
    job = bench.job(project, "train.py")
    run = bench.run(project, job, arguments="3")
    found = bench.ended(project, job, run)
    assert (found["status"], found["facts"]) == ("ENGINE_SUCCEEDED", {"rows": 7}), found
    log = bench.ask("GET", f"/projects/{project}/jobs/{job}/runs/{run}/logs")
    assert log["logs"] == "depth 3\n"

    models = f"/projects/{project}/models"
    model = bench.ask("POST", models, {"name": "sums"})
    builds = f"{models}/{model['id']}/builds"
    body: dict[str, Any] = {"file_path": "predict.py", "function_name": "predict"}
    build = bench.ask("POST", builds, body)
    deployments = f"{builds}/{build['id']}/deployments"
    body = {"cpu": "0.5", "memory": 1, "deployment_secrets": {"PASSWORD": "x"}}
    made = bench.ask("POST", deployments, body)
    bench.deployed(f"{deployments}/{made['id']}")
    assert bench.ask("GET", f"{builds}/{build['id']}")["status"] == "built"

    reply = bench.call(model["access_key"], {"values": [1, 2]})
    assert reply.status_code == 200, reply.text
    response = reply.json()["response"]
    assert response["prediction"] == {"sum": 3}
    window = {"modelDeploymentCrn": made["crn"]}
    (row,) = bench.session.post(f"{bench.url}/read-metrics", json=window).json()["metrics"]
    assert (row["predictionUuid"], row["metrics"]) == (response["uuid"], {"size": 2})

    label = f"workbench.labs/deployment={made['id']}"
    assert ask(config, "get", "deployment", "-l", label, "-o", "name")
    bench.ask("POST", f"{deployments}/{made['id']}:stop")
    bench.deployed(f"{deployments}/{made['id']}", "stopped")
    assert bench.call(model["access_key"], {"values": []}).status_code == 503
    assert ask(config, "get", "deployment,pod", "-l", label, "-o", "name") == ""
    assert ask(config, "get", "secret", "-l", label, "-o", "name")
    bench.ask("DELETE", f"{models}/{model['id']}")
    assert ask(config, "get", "secret,service", "-l", label, "-o", "name") == ""


def test_what_is_not_there_yet_is_answered_with_unimplemented(bench: Service) -> None:
    assert bench.ask("GET", "/projects/p/experiments", status=501)["code"] == 12


def test_field_that_would_be_ignored_is_refused(bench: Service) -> None:
    project = bench.project("registry")
    made = bench.ask("POST", f"/projects/{project}/models", {"name": "m"})
    builds = f"/projects/{project}/models/{made['id']}/builds"
    body = {"build_script_path": "build.sh", "registered_model_version_id": "m:1"}
    found = bench.ask("POST", builds, body, 400)
    assert "no build_script_path" in found["message"]
    assert bench.ask("GET", builds)["model_builds"] == []


def test_job_with_a_schedule_is_a_cronjob_until_it_has_none(bench: Service, config: Path) -> None:
    project = bench.project("clock", train__py=TRAIN)
    job = bench.job(project, "train.py", schedule="0 12 * * *", paused=True)
    cron = ("get", "cronjob", f"job-{job}", "-o", "jsonpath={.spec.suspend}", "--ignore-not-found")
    assert ask(config, *cron) == "true"
    bench.ask("PATCH", f"/projects/{project}/jobs/{job}", {"schedule": ""})
    assert ask(config, *cron) == ""


def test_account_of_a_workbench_does_what_it_needs_and_reads_no_secret(config: Path) -> None:
    name = "get-rights"
    ask(
        config, "run", name, "--image=labs/workbench:1.0", "--restart=Never",
        '--overrides={"spec": {"serviceAccountName": "workbench"}}',
        "--command", "--", "python", "-c", RIGHTS,
    )  # fmt: skip
    try:
        phase = ("get", "pod", name, "-o", "jsonpath={.status.phase}")
        until("the pod to end", lambda: ask(config, *phase) in ("Succeeded", "Failed"))
        said = json.loads(ask(config, "logs", name))
    finally:
        ask(config, "delete", "pod", name, "--now")
    assert said == {"pods": 200, "jobs": 200, "secrets": 403, "configmaps": 403, "roles": 403}


def test_everything_goes_with_the_workbench_and_a_new_one_serves_again(
    env: dict[str, str], config: Path, bench: Service
) -> None:
    project = bench.project("owner", predict__py=PREDICT, train__py="import time\ntime.sleep(600)")
    builds, model, build = bench.model(project, "owned")
    policy = {"type": "autoscale", "max_replicas": 2}
    open_path = bench.deploy(builds, build, replication_policy=policy)
    builds, hidden, build = bench.model(project, "hidden")
    hidden_path = bench.deploy(builds, build, deployment_secrets={"PASSWORD": "x"})
    bench.job(project, "train.py", name="clock", schedule="0 12 * * *")
    job = bench.job(project, "train.py")
    run = bench.run(project, job)
    path = f"/projects/{project}/jobs/{job}/runs/{run}"
    until("it to run", lambda: bench.ask("GET", path)["status"] == "ENGINE_RUNNING")
    kinds = "job,cronjob,deployment,replicaset,hpa,service,secret,pod"
    label = ("get", kinds, "-l", "app.kubernetes.io/managed-by=workbench", "-o", "name")
    seen = {name.partition("/")[0].partition(".")[0] for name in ask(config, *label).split()}
    assert {"job", "cronjob", "deployment", "horizontalpodautoscaler", "service", "secret"} < seen

    ask(config, "delete", "-f", str(EXAMPLE))
    until("its objects to go", lambda: ask(config, *label) == "", 60)
    with requests.Session() as session:
        again = order(env, config, session)
        # Seen to end by the workbench that went, or found without its job by the new one.
        assert again.ended(project, job, run)["status"] in ("ENGINE_FAILED", "ENGINE_UNKNOWN")
        again.deployed(hidden_path, "failed")
        assert "deploy the build anew" in again.ask("GET", hidden_path)["reason"]
        assert again.ask("GET", open_path)["status"] == "deployed"
        reply = again.call(model["access_key"], {"values": [1, 2]})
        assert (reply.status_code, again.call(hidden["access_key"], {}).status_code) == (200, 503)
        assert "cronjob" in ask(config, *label)


RIGHTS = """
import asyncio, json
from labapps.workbench import kube
import os

kube.GROUPS |= {"configmaps": "api/v1", "roles": "apis/rbac.authorization.k8s.io/v1"}

async def main():
    client = kube.Kube(kube.in_cluster(os.environ.get("POD_ROOT", "")))
    found = {}
    for kind in ("pods", "jobs", "secrets", "configmaps", "roles"):
        try:
            await client.list(kind, "")
            found[kind] = 200
        except kube.KubeError as error:
            found[kind] = error.status
    await client.close()
    print(json.dumps(found))

asyncio.run(main())
"""
