"""Airflow on the sandbox whose tasks are pods: KubernetesPodOperator, and KubernetesExecutor."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client

from labrunner import sandbox
from tests.labapps.orchestrator import needs_airflow
from tests.labs.after.mlops import Air
from tests.labs.platform import GROUP, Platform

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(2400), needs_airflow]
DAG = """
from airflow.sdk import dag, task

@dag(dag_id="pods", schedule=None)
def pods():
    @task
    def where():
        import os
        return os.environ["HOSTNAME"]

    @task
    def tell(name):
        import os
        print("a key of Kubernetes:", os.path.exists(os.environ.get("POD_ROOT", "") + TOKEN))
        print("told by", name, "in", os.environ["HOSTNAME"])
        return os.environ["HOSTNAME"]

    tell(where())

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
pods()
"""
OPERATOR = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import dag

def pod(name, code, **more):
    return KubernetesPodOperator(task_id=name, image="python:3.11", cmds=["python", "-c", code],
        automount_service_account_token=False, on_finish_action="keep_pod", **more)

@dag(dag_id="operator", schedule=None)
def operator():
    pod("well", "import os; print('hello from', os.environ['HOSTNAME'])")
    pod("badly", "raise SystemExit('the file is missing')")

operator()
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("pods")
    with sandbox.running(folder / "state") as settings:
        yield Platform(folder / "state", settings)


def until(phrase: str, look: Callable[[], Any], deadline: float = 600) -> Any:
    end, last = time.monotonic() + deadline, None
    while time.monotonic() < end:
        try:
            if last := look():
                return last
        except Exception as error:  # the platform or Airflow is still starting
            last = error
        time.sleep(1)
    raise AssertionError(f"Waited {deadline:g} s for {phrase}; last seen: {last!r}")


def order(platform: Platform, *secrets: str, **env: str) -> None:
    """Order the learner's Airflow with these Secrets, and wait for it."""
    name = f"airflow-{platform.user}"
    role: dict[str, Any] = {
        "id": "controller", "members": 1, "storage": {"size": "1Gi"},
        "serviceAccountName": "airflow",
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"},
                      "limits": {"cpu": "2", "memory": "2Gi"}},
    }  # fmt: skip
    custom = client.CustomObjectsApi(platform.api())
    where: Any = {**GROUP, "namespace": platform.namespace, "plural": "kubedirectorclusters"}
    body: dict[str, Any] = {
        "apiVersion": "kubedirector.hpe.com/v1beta1",
        "kind": "KubeDirectorCluster",
        "metadata": {"name": name},
        "spec": {"app": "airflow", "appCatalog": "local", "namingScheme": "CrNameRole",
                 "roles": [role], "connections": {"secrets": list(secrets)}},
    }  # fmt: skip
    custom.create_namespaced_custom_object(body=body, **where)
    until(
        "Airflow to be configured",
        lambda: (
            platform.kdclusters()[name]["status"]["state"] == "configured"
            and not platform.kdclusters()[name]["status"]["memberStateRollup"]["membersWaiting"]
        ),
        900,
    )


def remove(platform: Platform) -> None:
    custom = client.CustomObjectsApi(platform.api())
    where: Any = {**GROUP, "namespace": platform.namespace, "plural": "kubedirectorclusters"}
    name = f"airflow-{platform.user}"
    custom.delete_namespaced_custom_object(name=name, **where)
    until("Airflow to be gone", lambda: name not in platform.kdclusters(), 180)


def ran(platform: Platform, dag: str, text: str) -> tuple[Air, str, str]:
    """Write a DAG, run it, and return its run and how it ended."""
    folder = platform.repository / "airflow" / f"airflow-{platform.user}" / "dags"
    (folder / f"{dag}.py").write_text(text)
    air = until("Airflow to answer", lambda: Air(platform), 300)
    url = f"{air.address}/api/v2/dags/{dag}"
    until("the DAG to be seen", lambda: air.http.get(url, timeout=60).ok, 300)
    air.http.patch(url, json={"is_paused": False}, timeout=60).raise_for_status()
    body: Any = {"logical_date": None, "conf": {}}
    made = air.http.post(f"{url}/dagRuns", json=body, timeout=60)
    made.raise_for_status()
    run = str(made.json()["dag_run_id"])

    def ended() -> str:
        state = str(air.http.get(f"{url}/dagRuns/{run}", timeout=60).json()["state"])
        return state if state in ("success", "failed") else ""

    return air, run, str(until("the run to end", ended, 900))


def log_of(air: Air, dag: str, run: str, task: str) -> str:
    url = f"{air.address}/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/1"
    found = air.http.get(f"{url}?full_content=true", timeout=60).json()["content"]
    return json.dumps(found)


def test_operator_runs_real_pods_and_a_failing_one_is_red(platform: Platform) -> None:
    order(platform)
    air, run, state = ran(platform, "operator", OPERATOR)
    assert state == "failed"
    url = f"{air.address}/api/v2/dags/operator/dagRuns/{run}/taskInstances"
    listed = air.http.get(url, timeout=60).json()["task_instances"]
    assert {one["task_id"]: one["state"] for one in listed} == {
        "well": "success",
        "badly": "failed",
    }
    pods = platform.core().list_namespaced_pod(platform.namespace, label_selector="dag_id=operator")
    phases = {one.metadata.labels["task_id"]: one.status.phase for one in pods.items}
    assert phases == {"well": "Succeeded", "badly": "Failed"}
    (well,) = [one for one in pods.items if one.metadata.labels["task_id"] == "well"]
    assert f"hello from {well.metadata.name}" in log_of(air, "operator", run, "well")
    remove(platform)


def test_executor_runs_each_task_in_a_pod_without_a_key(platform: Platform) -> None:
    order(platform, AIRFLOW_EXECUTOR="KubernetesExecutor",
          AIRFLOW__KUBERNETES_EXECUTOR__DELETE_WORKER_PODS="False")  # fmt: skip
    air, run, state = ran(platform, "pods", DAG)
    assert state == "success", log_of(air, "pods", run, "where")

    def found() -> list[Any]:
        chosen = "dag_id=pods"
        return list(
            platform.core().list_namespaced_pod(platform.namespace, label_selector=chosen).items
        )

    # A task is over a moment before its pod.
    until("the pods to end", lambda: {one.status.phase for one in found()} == {"Succeeded"}, 300)
    names = {one.metadata.labels["task_id"]: one.metadata.name for one in found()}
    assert set(names) == {"where", "tell"}
    log = log_of(air, "pods", run, "tell")
    assert f"in {names['tell']}" in log
    assert "a key of Kubernetes: False" in log
    remove(platform)
