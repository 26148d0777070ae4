"""The tracking server and its clients ask nobody outside: counted without a network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.alone import QUIET, inside, needs_namespaces, raise_loopback, report
from tests.labapps.pods import TOKEN, Cluster, Pod, call, running

MODULE = "tests.labapps.test_mlflow_offline"
CLIENT = """
import mlflow
from sklearn.linear_model import Ridge

mlflow.set_experiment("quiet")
with mlflow.start_run():
    mlflow.log_metric("rmse", 0.7)
    mlflow.sklearn.log_model(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]), name="model",
                             pip_requirements=["scikit-learn"], registered_model_name="quiet")
mlflow.MlflowClient().set_registered_model_alias("quiet", "champion", "1")
mlflow.pyfunc.load_model("models:/quiet@champion")
"""
PAGES = (
    "",
    "version",
    "ajax-api/3.0/mlflow/gateway/supported-providers",
    "ajax-api/3.0/mlflow/gateway/supported-models?provider=openai",
    "ajax-api/3.0/mlflow/ui-telemetry",
)


@pytest.mark.fast
@needs_namespaces
def test_question_to_the_outside_is_counted() -> None:
    assert inside(MODULE, "ask") == {"interfaces": 1, "no route": 1, "datagrams": 1}


@pytest.mark.sandbox
@pytest.mark.nightly
@pytest.mark.timeout(400)
@needs_namespaces
def test_server_and_client_ask_nobody_outside(tmp_path: Path) -> None:
    assert inside(MODULE, "serve", str(tmp_path)) == QUIET


def ask() -> None:
    """Ask an address outside, and a name server on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server:
        name_server.sendto(b"?", ("127.0.0.53", 53))
    with socket.socket() as outside:
        assert outside.connect_ex(("192.0.2.1", 443)) != 0


def serve(folder: Path) -> None:
    """Serve, log, register, load, and open pages."""
    with running(Cluster(folder, "mlflow", {"controller": 1})) as cluster:
        cluster.settle(200)
        pod: Pod = cluster.pods["controller"][0]
        url = f"http://{pod.ip}:5000"
        # What a connected notebook or job gets, and nothing else that would quieten the client.
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true"}
        env = os.environ | quiet | {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": TOKEN}
        subprocess.run([sys.executable, "-c", CLIENT], env=env, check=True, stdout=sys.stderr)
        for page in PAGES:
            print(page, call(f"{url}/{page}")[0], file=sys.stderr)


if __name__ == "__main__":
    raise_loopback()
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    if sys.argv[1] == "ask":
        ask()
    else:
        serve(Path(sys.argv[2]))
    report()
