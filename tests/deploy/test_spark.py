"""Spark on Kubernetes as deploy/kubernetes sets it: a driver, executors in pods, a table."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.kustomize import KUBERNETES
from tests.deploy.running import NAMESPACE, Platform
from tests.repo.tree import ROOT
from tests.sandbox.platform.program import until

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(300)]

DRIVER = """
import os
from labspark.session import session

spark = session("nightly")
context = spark.sparkContext
assert context.master.startswith("k8s://")
where = lambda rows: [os.environ.get("SPARK_EXECUTOR_POD_NAME")]
print("PODS", *set(context.parallelize(range(8), 8).mapPartitions(where).collect()))
table = os.path.join(os.environ["PROJECT_REPO"], "numbers")
spark.range(1000).write.format("delta").save(table)
print("ROWS", spark.read.format("delta").load(table).count())
spark.stop()
"""


@pytest.fixture
def settings(platform: Platform, applied: str, tmp_path: Path) -> dict[str, str]:
    """Return what a learner's pod on the hub gets, in the places of this machine."""
    for name in ("spark-defaults.conf", "executor.yaml"):
        shutil.copy(KUBERNETES / "hub" / name, tmp_path)
    token = tmp_path / "token"
    made = platform.kubectl.run("create", "token", "spark-driver", "-n", "labs-hub")
    token.write_text(made.stdout.strip())
    server = platform.kubectl.run(
        "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"
    ).stdout
    conf = "SPARK_CONF_spark_kubernetes_"
    return {
        "SPARK_MASTER": f"k8s://{server}",
        "SPARK_CONF_DIR": str(tmp_path),
        f"{conf}namespace": NAMESPACE,
        f"{conf}container_image": "labs/spark:1.0",
        f"{conf}executor_podTemplateFile": str(tmp_path / "executor.yaml"),
        f"{conf}authenticate_oauthTokenFile": str(token),
        f"{conf}authenticate_caCertFile": platform.settings["EZMERAL_CA"],
        "PROJECT_REPO": str(platform.state / "projects" / NAMESPACE),
        "PYTHONPATH": str(ROOT),
        "KUBECONFIG": str(tmp_path / "none"),
    }


def test_driver_gets_executors_and_removes_them(
    platform: Platform, settings: dict[str, str], tmp_path: Path
) -> None:
    kubectl = platform.kubectl

    def left() -> list[str]:
        kinds = ("get", "pod,configmap", "-n", NAMESPACE, "-l", "spark-role=executor", "-o", "name")
        return kubectl.run(*kinds).stdout.split()

    until(
        "the claim",
        lambda: (
            kubectl.get("pvc", "project-repo", "-n", NAMESPACE)["status"].get("phase") == "Bound"
        ),
    )
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    pods = said["PODS"].split()
    assert len(pods) == 2
    assert all("-exec-" in pod for pod in pods)
    assert said["ROWS"] == "1000"
    assert (Path(settings["PROJECT_REPO"]) / "numbers" / "_delta_log").is_dir()
    until("the executors to be gone", lambda: not left(), 30)
