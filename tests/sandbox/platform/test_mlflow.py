"""MLflow ordered from the catalogue: reached through the gateway, killed, deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from kubernetes import client, config

from labrunner.environments import find
from labsandbox.node import processes
from tests.processes import words_of
from tests.repo.tree import ROOT
from tests.sandbox.platform.program import until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]
NAMESPACE, NAME = "k8smltenant", "mlflow-test"
KDCLUSTERS = {
    "group": "kubedirector.hpe.com",
    "version": "v1beta1",
    "namespace": NAMESPACE,
    "plural": "kubedirectorclusters",
}
MANIFEST: dict[str, Any] = {
    "apiVersion": "kubedirector.hpe.com/v1beta1",
    "kind": "KubeDirectorCluster",
    "metadata": {"name": NAME},
    "spec": {
        "app": "mlflow",
        "appCatalog": "local",
        "namingScheme": "CrNameRole",
        "connections": {"secrets": ["hpecp-ext-auth-secret"]},
        "roles": [
            {
                "id": "controller",
                "members": 1,
                "storage": {"size": "1Gi"},
                "resources": {
                    "requests": {"cpu": "100m", "memory": "512Mi"},
                    "limits": {"cpu": "1", "memory": "1Gi"},
                },
            }
        ],
    },
}
RUN = """
import mlflow

mlflow.set_experiment("through the gateway")
with mlflow.start_run():
    mlflow.log_metric("rmse", 0.7, step=1)
    mlflow.log_text("hello", "notes.txt")
"""


@pytest.fixture
def api(state: Path) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(state / "admin.conf")) as found:
        yield found


needs_tracking = pytest.mark.skipif(
    not find(ROOT, "tracking").is_installed,
    reason="PostgreSQL's wheel is in an environment of its own: `labs setup tracking`",
)


def servers(state: Path) -> list[psutil.Process]:
    """Return the processes of the node that run the application."""
    found = []
    for pid in processes.find_node(processes.mark_of(state)):
        try:
            process = psutil.Process(pid)
            if "labapps.mlflow" in words_of(process):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    "app",
    [
        "mlflow",
        pytest.param("mlflow-production", marks=[pytest.mark.nightly, needs_tracking]),
    ],
)
def test_ordered_server_keeps_what_it_acknowledged_and_leaves_nothing(
    state: Path, env: dict[str, str], api: client.ApiClient, app: str
) -> None:
    custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
    selector = f"kubedirector.hpe.com/kdcluster={NAME}"

    def look() -> str:
        return str(custom.get_namespaced_custom_object(name=NAME, **KDCLUSTERS).get("status"))

    manifest = MANIFEST | {"spec": MANIFEST["spec"] | {"app": app}}
    custom.create_namespaced_custom_object(body=manifest, **KDCLUSTERS)
    try:
        until("MLflow to be configured", lambda: "'state': 'configured'" in look(), 200)
        services = core.list_namespaced_service(NAMESPACE, label_selector=selector).items
        notes: dict[str, str] = {}
        for service in services:
            notes |= service.metadata.annotations or {}
        address = f"https://{notes['hpecp-internal-gateway/5000']}"
        token = notes["kubedirector.hpe.com/kd-auth-token"]
        chosen = {
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": env["EZMERAL_CA"],
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN], env=os.environ | chosen, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

        def runs() -> list[Any]:
            with requests.Session() as http:
                http.trust_env, http.verify = False, env["EZMERAL_CA"]
                http.headers["Authorization"] = f"Bearer {token}"
                url = f"{address}/api/2.0/mlflow/runs/search"
                try:
                    answer = http.post(url, json={"experiment_ids": ["1"]}, timeout=30)
                except requests.ConnectionError:
                    return []
                found: list[Any] = answer.json()["runs"] if answer.ok else []
                return found

        (before,) = runs()
        (process,) = servers(state)
        process.kill()
        until("the server to be back", lambda: runs() == [before], 120)
        assert process not in servers(state)
    finally:
        custom.delete_namespaced_custom_object(name=NAME, **KDCLUSTERS)
    until("the server to be gone", lambda: servers(state) == [])
    until("its pods to be gone", lambda: _pods(core, selector) == [])


def _pods(core: client.CoreV1Api, selector: str) -> list[Any]:
    return list(core.list_namespaced_pod(NAMESPACE, label_selector=selector).items)
