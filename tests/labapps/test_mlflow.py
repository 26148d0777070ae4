"""The tracking server as its clients, its tenant and an attacker see it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from labapps.member.configmeta import Configmeta
from labapps.member.connected import mlflow_environment
from labapps.mlflow import hosts
from tests.labapps.pods import ROOT, TOKEN, Cluster, Pod, call, eventually, running

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
API = "api/2.0/mlflow"
# Writes down whom the server asks for a name or connects to, beside itself.
LISTENER = """
import os, sys

def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open(os.environ["ASKED"], "a") as file:
            print(event, args[1] if event == "socket.connect" else args[0], file=file)

sys.addaudithook(note)
open(os.environ["ASKED"], "a").close()
"""
RUN = """
import mlflow, sys

mlflow.set_experiment("taken")
with mlflow.start_run() as run:
    mlflow.log_param("alpha", 0.1)
    for step in range(3):
        mlflow.log_metric("rmse", 0.7 - step / 10, step=step)
    mlflow.log_text("hello", "notes.txt")
print(run.info.run_id)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(LISTENER)
    env = {"PYTHONPATH": f"{folder / 'hook'}:{ROOT}", "ASKED": str(folder / "asked")}
    with running(Cluster(folder, "mlflow", {"controller": 1}, **env)) as cluster:
        cluster.settle(120)
        yield cluster
        pod(cluster).stop()
        asked = (folder / "asked").read_text().splitlines()
        assert [line for line in asked if "127." not in line and "localhost" not in line] == []


def pod(cluster: Cluster) -> Pod:
    return cluster.pods["controller"][0]


def url(cluster: Cluster, path: str) -> str:
    return f"http://{pod(cluster).ip}:5000/{path}"


def log_run(cluster: Cluster) -> str:
    """Log a run with MLflow's own client; return its id."""
    env = os.environ | {"MLFLOW_TRACKING_URI": url(cluster, ""), "MLFLOW_TRACKING_TOKEN": TOKEN}
    env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    done = subprocess.run([sys.executable, "-c", RUN], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_server_has_the_release_of_the_lock(server: Cluster) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert f"\nmlflow=={call(url(server, 'version'))[1]} " in lock


def test_server_is_one_process_and_its_schema_exists_when_it_is_ready(server: Cluster) -> None:
    process = pod(server).process
    assert process is not None
    found = psutil.Process(process.pid)
    assert found.children(recursive=True) == []
    assert found.memory_info().rss <= 300 << 20
    with sqlite3.connect(pod(server).root / "var/lib/mlflow/mlflow.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT count(*) FROM experiments").fetchone() == (1,)
    database.close()


def test_run_of_the_real_client_lies_in_database_and_repository(server: Cluster) -> None:
    run = call(url(server, f"{API}/runs/get?run_id={log_run(server)}"))[1]["run"]
    assert {"key": "alpha", "value": "0.1"} in run["data"]["params"]
    history = call(
        url(server, f"{API}/metrics/get-history?run_id={run['info']['run_id']}&metric_key=rmse")
    )[1]["metrics"]
    assert [one["step"] for one in history] == [0, 1, 2]
    (file,) = server.repository.rglob("notes.txt")
    assert file.read_text() == "hello"
    assert file.is_relative_to(server.repository / "mlflow")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("experiments/create", {"name": "a", "artifact_location": "file:///etc"}),
        ("experiments/create", {"name": "a", "artifactLocation": "file:///etc"}),
        ("experiments/create", {"name": "a", "artifact_location": "/etc"}),
        ("experiments/create", {"name": "a", "artifact_location": "file://other/etc"}),
        ("experiments/create", {"name": "a", "artifact_location": "s3://bucket/x"}),
        ("experiments/create", {"name": "a", "artifact_location": "mlflow-artifacts://other/x"}),
        ("experiments/create", {"name": "a\0b"}),
        ("experiments/create", b"\xff\xfe{"),
        ("webhooks", {"name": "w", "url": "http://127.0.0.1:1", "events": []}),
        ("webhooks", {"name": "w", "url": " HTTP://127.0.0.1:1", "events": []}),
        ("model-versions/create", {"name": "m", "source": "file:///etc/"}),
        (
            "model-versions/create",
            {
                "name": "m",
                "source": "file:///etc/",
                "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}],
            },
        ),
    ],
)
@pytest.mark.parametrize("prefix", ["api", "ajax-api"])
def test_place_or_webhook_outside_of_the_tenant_is_refused(
    server: Cluster, path: str, body: Any, prefix: str
) -> None:
    call(url(server, f"{API}/registered-models/create"), {"name": "m"})
    status, answer = call(url(server, f"{prefix}/2.0/mlflow/{path}"), body)
    assert status == 400, answer
    assert answer["message"]
    found = call(url(server, f"{API}/experiments/search?max_results=100"))[1]["experiments"]
    assert not {one["name"] for one in found} & {"a", "a\0b"}


def test_place_inside_of_the_tenant_is_taken(server: Cluster) -> None:
    inside = (server.repository / "results").as_uri()
    for name, place in (("inside", inside), ("proxied", "mlflow-artifacts:/x"), ("default", "")):
        body = {"name": name} | ({"artifact_location": place} if place else {})
        assert call(url(server, f"{API}/experiments/create"), body)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "api/2.0/mlflow-artifacts/artifacts/..%2f..%2fmlflow.db",
        "api/2.0/mlflow-artifacts/artifacts/%252e%252e%252fmlflow.db",
        "get-artifact?run_id=0&path=../../mlflow.db",
    ],
)
def test_path_that_climbs_out_of_the_artefacts_is_refused(server: Cluster, path: str) -> None:
    assert call(url(server, path))[0] in (400, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "gateway/mlflow/v1/chat/completions"),
        ("POST", "ajax-api/3.0/mlflow/assistant/message"),
        ("POST", "ajax-api/3.0/jobs/"),
        ("POST", "//ajax-api/3.0/mlflow/scorer/invoke"),
        ("POST", "api/3.0/mlflow/gateway/secrets/create"),
    ],
)
def test_parts_that_call_others_or_run_programs_are_shut(
    server: Cluster, method: str, path: str
) -> None:
    assert call(url(server, path), {}, method=method)[0] == 403


@pytest.mark.parametrize("token", [None, "", "0" * 32, TOKEN + "0"])
def test_request_without_the_token_learns_nothing(server: Cluster, token: str | None) -> None:
    assert call(url(server, "health"), token=token) == (200, "OK")
    for path in ("", "version", f"{API}/experiments/search", "graphql", "%2e/version"):
        assert call(url(server, path), token=token)[0] == 401


def test_browser_trades_the_token_of_an_address_for_a_cookie(server: Cluster) -> None:
    with requests.Session() as browser:
        browser.trust_env = False
        first = browser.get(url(server, f"?X-Auth-Token={TOKEN}"), allow_redirects=False)
        assert (first.status_code, first.headers["Location"]) == (303, "/")
        cookie = first.headers["Set-Cookie"]
        assert "HttpOnly; SameSite=Strict; Secure" in cookie
        shown = {"Cookie": cookie.partition(";")[0]}
        assert "<title>MLflow</title>" in browser.get(url(server, ""), headers=shown).text
        away = browser.get(
            url(server, f"/evil.example?X-Auth-Token={TOKEN}"), allow_redirects=False
        )
        assert away.headers["Location"] == "/evil.example"
        assert browser.get(url(server, "version"), auth=("me", TOKEN)).text.startswith("3.")


def test_name_or_origin_of_another_server_is_refused(server: Cluster) -> None:
    def ask(**headers: str) -> int:
        return call(url(server, f"{API}/experiments/search"), {"max_results": 1}, headers=headers)[
            0
        ]

    own = f"{pod(server).ip}:5000"
    assert ask() == ask(Host="localhost") == ask(Origin=f"http://{own}") == 200
    for host in ("evil.example", "localhost.evil.example", "localhost@evil.example", "10.0.0.1"):
        assert ask(Host=host) == 403, host
    assert ask(Origin="http://evil.example") == 403


def test_acknowledged_runs_survive_a_kill_and_nothing_is_left(server: Cluster) -> None:
    experiment = call(url(server, f"{API}/experiments/create"), {"name": "killed"})[1]
    made = [
        call(url(server, f"{API}/runs/create"), experiment | {"start_time": n})[1]["run"]
        for n in range(20)
    ]
    process = pod(server).process
    assert process is not None
    pod(server).stop(signal.SIGKILL)
    assert not psutil.pid_exists(process.pid)
    pod(server).start()
    eventually("the server to be back", lambda: call(url(server, "health"))[0] == 200, 120)
    query = {"experiment_ids": [experiment["experiment_id"]], "max_results": 100}
    found = call(url(server, f"{API}/runs/search"), query)[1]["runs"]
    assert {one["info"]["run_id"] for one in found} == {one["info"]["run_id"] for one in made}
    assert pod(server).stop() == 0
    pod(server).start()
    eventually("the server to be back", lambda: call(url(server, "health"))[0] == 200, 120)


def meta(**connections: Any) -> Configmeta:
    document = {
        "node": {"role_id": "controller", "fqdn": "m-0.mh.tenant.svc.cluster.local"},
        "connections": connections,
    }
    return Configmeta(json.dumps(document).encode())


@pytest.mark.fast
def test_only_names_of_service_gateway_and_localhost_are_allowed() -> None:
    found = hosts.names(meta(), {"GATEWAY_HOSTS": "Gateway.example, "})
    assert {"m-0.tenant.svc.cluster.local", "gateway.example", "localhost"} <= found
    assert not {"", "tenant", "svc.cluster.local", "tenant.svc.cluster.local"} & found


@pytest.mark.fast
def test_connected_cluster_or_secret_names_the_server(tmp_path: Path) -> None:
    service = {"endpoints": ["http://m-0:5000"], "authToken": "t"}
    roles = {"controller": {"services": {"mlflow-server": service}}}
    cluster = {"mlflow": {"nodegroups": {"1": {"roles": roles}}}}
    secret = {
        "metadata": {"name": "outside"},
        "data": {"MLFLOW_TRACKING_URI": "https://outside", "ca.crt": "PEM", "LD_PRELOAD": "x"},
    }
    assert mlflow_environment(meta(), tmp_path) == {}
    found = mlflow_environment(meta(clusters=cluster), tmp_path)
    assert (found["MLFLOW_TRACKING_URI"], found["MLFLOW_TRACKING_TOKEN"]) == (
        "http://m-0:5000",
        "t",
    )
    found = mlflow_environment(meta(secrets={"mlflow": [secret]}), tmp_path)
    assert found["MLFLOW_TRACKING_URI"] == "https://outside"
    assert Path(found["MLFLOW_TRACKING_SERVER_CERT_PATH"]).read_text() == "PEM"
    assert "LD_PRELOAD" not in found
    both = mlflow_environment(meta(clusters=cluster, secrets={"mlflow": [secret]}), tmp_path)
    assert both["MLFLOW_TRACKING_URI"] == "http://m-0:5000"
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" not in both
