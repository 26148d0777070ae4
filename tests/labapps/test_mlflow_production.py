"""MLflow on PostgreSQL and S3, from the environment `tracking`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labapps.mlflow.bucket import is_signed
from labrunner.environments import find
from tests.labapps.pods import ROOT, TOKEN, Cluster, Pod, call, eventually, running

API = "api/2.0/mlflow"
TRACKING = find(ROOT, "tracking")
needs_tracking = pytest.mark.skipif(
    not TRACKING.is_installed,
    reason="the environment is not installed: labs setup tracking",
)
PYTHON = TRACKING.folder / "bin" / "python"
CLIENT = """
import mlflow

mlflow.set_experiment("in production")
with mlflow.start_run() as run:
    mlflow.log_metric("rmse", 0.7, step=1)
    mlflow.log_text("hello", "notes.txt")
print(run.info.run_id)
"""
SIGN = """
import sys
import boto3, botocore.config

def ask(key, secret):
    config = botocore.config.Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", config=config,
                      aws_access_key_id=key, aws_secret_access_key=secret)
    try:
        found = s3.list_objects_v2(Bucket=sys.argv[4], Prefix="a b/c+d")
        return str(len(found.get("Contents", [])))
    except s3.exceptions.ClientError as error:
        return error.response["Error"]["Code"]

print(ask(sys.argv[2], sys.argv[3]), ask(sys.argv[2], "wrong"), ask("wrong", sys.argv[3]))
"""


class Production(Cluster):
    """A kdcluster of the application `mlflow-production`."""

    def meta(self) -> dict[str, Any]:
        found = super().meta()
        found["nodegroups"]["1"]["config_metadata"] = {"store": "postgresql+s3"}
        return found


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(Pod, "python", str(PYTHON))
    with running(Production(tmp_path, "mlflow", {"controller": 1})) as cluster:
        cluster.settle(240)
        yield cluster


def url(cluster: Cluster, path: str = "") -> str:
    return f"http://{pod(cluster).ip}:5000/{path}"


def pod(cluster: Cluster) -> Pod:
    return cluster.pods["controller"][0]


@pytest.mark.sandbox
@pytest.mark.nightly
@pytest.mark.timeout(600)
@needs_tracking
def test_runs_are_in_postgresql_and_files_in_s3_and_both_survive_a_kill(server: Cluster) -> None:
    env = os.environ | {"MLFLOW_TRACKING_URI": url(server), "MLFLOW_TRACKING_TOKEN": TOKEN}
    done = subprocess.run([PYTHON, "-c", CLIENT], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.split()[-1]
    (notes,) = server.repository.rglob("notes.txt")
    assert notes.read_text() == "hello"
    state = pod(server).root / "var/lib/mlflow"
    assert (state / "postgresql" / "PG_VERSION").read_text().startswith("18")
    assert (state / "postgresql.password").stat().st_mode & 0o777 == 0o600

    process = pod(server).process
    assert process is not None
    below = psutil.Process(process.pid).children(recursive=True)
    names = {one.name() for one in below}
    assert "postgres" in names
    listening = {
        (one.laddr.ip, one.laddr.port)
        for child in [psutil.Process(process.pid), *below]
        for one in child.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert listening == {(pod(server).ip, port) for port in (5000, 5432, 9000)}

    key, secret = (state / "s3.key").read_text().split()
    s3, bucket = f"http://{pod(server).ip}:9000", next((server.repository / "mlflow").iterdir())
    asked = subprocess.run(
        [PYTHON, "-c", SIGN, s3, key, secret, bucket.name], capture_output=True, text=True
    )
    assert asked.stdout.split() == ["0", "AccessDenied", "AccessDenied"], asked.stderr
    assert call(f"{s3}/{bucket.name}", token=None)[0] == 403

    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(below, 60)
    assert alive == []
    pod(server).start()
    eventually("the server to be back", lambda: call(url(server, "health"))[0] == 200, 240)
    found = call(url(server, f"{API}/runs/get?run_id={run_id}"))[1]["run"]
    assert found["data"]["metrics"][0]["value"] == 0.7
    assert call(url(server, f"get-artifact?run_id={run_id}&path=notes.txt"))[0] == 200
    process = pod(server).process
    assert process is not None
    below = psutil.Process(process.pid).children(recursive=True)
    pod(server).stop()
    _, alive = psutil.wait_procs(below, 60)
    assert alive == []


@pytest.mark.fast
def test_request_with_a_broken_signature_is_refused() -> None:
    headers = {
        "host": "h",
        "x-amz-date": "20261129T000000Z",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    for given in (
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=k/20261129/r/s3/aws4_request",
    ):
        assert not is_signed("GET", "/b", headers | {"Authorization": given}, "k", "s")
    scope = "k/20261129/us-east-1/s3/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date"
    forged = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={'0' * 64}"
    assert not is_signed("GET", "/b", headers | {"Authorization": forged}, "k", "s")
