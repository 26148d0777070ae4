"""A serving worker is killed with -9 while callers ask: nobody is turned away for long, the lab's
own eyes see the restart, and the engine is whole again. What a killed training worker does to its
job is shown in tests/labapps/test_training.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labhelpers.cluster import (
    Clients,
    apply,
    apply_config_map,
    caller,
    connect,
    labels,
    remove,
    restarts,
    wait_configured,
    wait_served,
)
from labhelpers.deadline import wait
from labhelpers.environment import settings
from labhelpers.signin import renew
from labrunner import sandbox

pytestmark = pytest.mark.labs

ENGINE = "engine-to-kill"
LAB = "core/kill"
SCRIPT = """
def load(path):
    return 7.0


def predict(model, rows):
    return [model] * len(rows)
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    with sandbox.running(tmp_path / "state") as found:
        for name, value in found.items():
            if name.startswith(("EZMERAL_", "PROJECT_", "GATEWAY_", "KUBECONFIG")):
                monkeypatch.setenv(name, value)
        renew()
        clients = connect()
        with clients.core.api_client:
            yield clients


def deploy(lab: Clients) -> None:
    """Deploy an engine of two workers with a model that always says seven."""
    (settings().project_repo / "seven.py").write_text(SCRIPT)
    (settings().project_repo / "seven.model").write_text("7")
    model = {
        "name": "seven",
        "model-version": "1",
        "description": "Always seven",
        "modelType": "kubedirector",
        "path": "repo://project_repo/seven.model",
        "scoring-path": "repo://project_repo/seven.py",
    }
    marks = labels(LAB) | {"kubedirector.hpe.com/cmType": "model"}
    apply_config_map(lab, "model-seven", model, marks)
    size = {"cpu": "100m", "memory": "512Mi"}
    roles = [
        {"id": name, "members": members, "resources": {"requests": size, "limits": size}}
        for name, members in (("LoadBalancer", 1), ("RESTServer", 2))
    ]
    spec = {
        "app": "deployment-engine",
        "appCatalog": "local",
        "namingScheme": "CrNameRole",
        "connections": {"configmaps": ["model-seven"], "secrets": ["hpecp-ext-auth-secret"]},
        "roles": roles,
    }
    manifest = {
        "apiVersion": "kubedirector.hpe.com/v1beta1",
        "kind": "KubeDirectorCluster",
        "metadata": {"name": ENGINE, "labels": labels(LAB)},
        "spec": spec,
    }
    apply(lab, "kubedirectorclusters", manifest)
    wait_configured(lab, ENGINE)


def kill_a_worker(lab: Clients) -> str:
    """Kill the processes of one RESTServer pod, as the kernel does when memory is short."""
    selector = f"kubedirector.hpe.com/kdcluster={ENGINE},kubedirector.hpe.com/role=RESTServer"
    pod = lab.core.list_namespaced_pod(lab.namespace, label_selector=selector).items[0]
    family = [
        process
        for process in psutil.process_iter(["environ", "cmdline"])
        if pod.metadata.uid in (process.info["environ"] or {}).get("POD_ROOT", "")
        and "labapps.deployment" in " ".join(process.info["cmdline"] or [])
    ]
    assert family, "the pod's server runs"
    for process in family:
        process.kill()
    return str(pod.metadata.name)


@pytest.mark.timeout(200)
def test_killed_worker_is_replaced_while_callers_ask(lab: Clients) -> None:
    deploy(lab)
    http, address = caller(lab, ENGINE, "LoadBalancer", 32700)
    wait_served(http, address, "seven/1")
    asking, statuses = threading.Event(), []
    asking.set()

    def ask() -> None:
        body = {"use_scoring": True, "scoring_args": {"hour": 1}}
        while asking.is_set():
            reply = http.post(f"{address}/seven/1/predict", json=body, timeout=30)
            statuses.append(reply.status_code)

    callers = threading.Thread(target=ask)
    callers.start()
    try:
        wait("the first answers", lambda: len(statuses) > 20)
        killed = kill_a_worker(lab)
        seen = wait("the restart", lambda: restarts(lab, ENGINE), until=lambda all: all[killed])
        whole = wait_configured(lab, ENGINE)
        after = len(statuses)
        wait("more answers", lambda: len(statuses) > after + 20)
    finally:
        asking.clear()
        callers.join()
        http.close()
    assert seen == {name: int(name == killed) for name in seen}, "nobody else was restarted"
    assert whole["status"]["state"] == "configured"
    assert set(statuses) == {200}, f"{[one for one in statuses if one != 200]} of {len(statuses)}"
    assert remove(lab, LAB)
