"""Airflow in a pod: one parent, four components, nothing left when it ends."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labapps.airflow import keys, settings
from labapps.member.configmeta import Configmeta
from labapps.member.place import Place
from tests.labapps.orchestrator import PYTHON, needs_airflow
from tests.labapps.pods import TOKEN, Cluster, Pod, call, encode, eventually, running
from tests.processes import words_of

CANARY = "a-canary-password"
DAG = """
from airflow.sdk import BaseHook, dag, task

@dag(dag_id="seen", schedule=None)
def seen():
    @task
    def host():
        found = BaseHook.get_connection("jobs")
        print("password", found.password)
        return found.host

    @task
    def tell(name):
        print(f"the host is {name}")

    tell(host())

seen()
"""


def meta(**secrets: dict[str, str]) -> Configmeta:
    document = {
        "node": {"role_id": "controller", "fqdn": "a-0.ah.tenant.svc.cluster.local"},
        "cluster": {"name": "flow", "id": "1"},
        "connections": {
            "secrets": {
                kind: [{"metadata": {"name": encode(kind)}, "data": data}]
                for kind, data in secrets.items()
            }
        },
    }
    return Configmeta(json.dumps(document).encode())


@pytest.mark.fast
def test_connections_come_from_marked_secrets_alone() -> None:
    data = {"AIRFLOW_CONN_JOBS": encode("{}"), "AIRFLOW__CORE__X": encode("y"), "PATH": encode("z")}
    assert settings.connections(meta(airflow=data, other=data)) == {"AIRFLOW_CONN_JOBS": "{}"}
    assert settings.connections(meta(other=data)) == {}


@pytest.mark.fast
def test_settings_of_the_role_win_and_nobody_is_told_outside(tmp_path: Path) -> None:
    place = Place(str(tmp_path), "127.9.9.9", tmp_path / "repository")
    own = {"PATH": "/bin", "AIRFLOW__CORE__PARALLELISM": "2", "AIRFLOW_DATABASE": "postgresql://x"}
    found = settings.environment(place, meta(), keys.keys(tmp_path), own)
    assert found["AIRFLOW__CORE__PARALLELISM"] == "2"
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql://x"
    assert found["AIRFLOW__API__HOST"] == "127.9.9.9"
    assert found["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"
    assert found["AIRFLOW__CORE__DAGS_FOLDER"] == f"{tmp_path}/repository/airflow/flow/dags"
    assert "AIRFLOW_DATABASE" not in found


@pytest.mark.fast
def test_keys_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    first = keys.keys(tmp_path)
    path = keys.write_passwords(tmp_path, [TOKEN])
    assert keys.keys(tmp_path) == first
    assert json.loads(path.read_text()) == {"learner": TOKEN, "instructor": first["instructor"]}
    assert json.loads(keys.write_passwords(tmp_path, []).read_text())["learner"] != ""
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


class AirflowPod(Pod):
    """A pod whose program runs in the environment of Airflow."""

    python = str(PYTHON)


class Api:
    """Airflow's REST API as a user who has signed in."""

    def __init__(self, pod: Pod) -> None:
        self.url = f"http://{pod.ip}:{settings.PORT}"
        self.token = self.sign_in("learner", TOKEN)[1]["access_token"]

    def sign_in(self, user: str, password: str) -> tuple[int, Any]:
        return call(f"{self.url}/auth/token", {"username": user, "password": password}, None)

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        bearer = {"Authorization": f"Bearer {self.token}"}
        status, found = call(f"{self.url}/api/v2/{path}", body, None, method, bearer)
        assert status < 400, found
        return found

    def run(self, dag: str) -> str:
        body = {"logical_date": None, "conf": {}}
        return str(self.ask(f"dags/{dag}/dagRuns", body)["dag_run_id"])

    def ended(self, dag: str, run: str) -> str:
        def look() -> str:
            state = str(self.ask(f"dags/{dag}/dagRuns/{run}")["state"])
            return state if state in ("success", "failed") else ""

        return str(eventually(f"run {run} to end", look, 150))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("airflow"), "airflow", {})
    made.pods["controller"] = [AirflowPod(made, "controller", 0)]
    connection = {"conn_type": "http", "host": "http://bench:10001", "password": CANARY}
    made.secret("airflow", "jobs", {"AIRFLOW_CONN_JOBS": json.dumps(connection)})
    with running(made):
        made.settle(240)
        yield made


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Api:
    return Api(pod(cluster))


def pod(cluster: Cluster) -> Pod:
    return cluster.pods["controller"][0]


def family(cluster: Cluster) -> list[psutil.Process]:
    process = pod(cluster).process
    assert process is not None
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


pytest_sandbox = [pytest.mark.sandbox, pytest.mark.timeout(400), needs_airflow]


def sandbox(test: Any) -> Any:
    for mark in pytest_sandbox:
        test = mark(test)
    return test


@sandbox
def test_learner_signs_in_with_the_token_and_nobody_without_it(api: Api) -> None:
    assert api.sign_in("learner", "wrong")[0] == 401
    assert api.sign_in("instructor", TOKEN)[0] == 401
    assert call(f"{api.url}/api/v2/dags", token=None)[0] == 401
    assert api.ask("dags")["dags"] == []
    health = api.ask("monitor/health")
    assert {part["status"] for part in health.values()} == {"healthy"}


@sandbox
def test_new_dag_runs_with_the_connection_and_no_log_has_its_password(
    cluster: Cluster, api: Api
) -> None:
    folder = cluster.repository / "airflow" / "test-airflow"
    (folder / "dags" / "seen.py").write_text(DAG)
    eventually("the DAG to be seen", lambda: api.ask("dags")["total_entries"], 60)
    api.ask("dags/seen", {"is_paused": False}, "PATCH")
    run = api.run("seen")
    assert api.ended("seen", run) == "success"
    log = api.ask(f"dags/seen/dagRuns/{run}/taskInstances/tell/logs/1?full_content=true")["content"]
    assert "the host is http://bench:10001" in [event["event"] for event in log]
    logs = [file.read_text() for file in (folder / "logs").rglob("*.log")]
    assert any("the host is" in text for text in logs)
    assert not any(CANARY in text for text in [*logs, pod(cluster).log.read_text()])
    for secret in (
        CANARY,
        *keys.keys(settings.home(Place(str(pod(cluster).root), "", folder))).values(),
    ):
        assert secret not in pod(cluster).log.read_text()


@sandbox
def test_file_that_cannot_be_imported_is_named(cluster: Cluster, api: Api) -> None:
    file = cluster.repository / "airflow" / "test-airflow" / "dags" / "broken.py"
    file.write_text("from airflow.sdk import dag\nimport nowhere_to_be_found\n")
    errors = eventually("the error", lambda: api.ask("importErrors")["import_errors"], 60)
    assert "nowhere_to_be_found" in errors[0]["stack_trace"]
    file.unlink()
    eventually("the error to go", lambda: not api.ask("importErrors")["import_errors"], 60)


@sandbox
def test_everything_listens_on_the_pods_address_only(cluster: Cluster) -> None:
    found = set()
    for process in family(cluster):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended since it was listed
            ports = process.net_connections("inet")
            found |= {one.laddr.ip for one in ports if one.status == psutil.CONN_LISTEN}
    assert found == {pod(cluster).ip}


@sandbox
def test_killed_scheduler_starts_again_and_a_run_ends_well(cluster: Cluster, api: Api) -> None:
    def scheduler() -> psutil.Process | None:
        parent = family(cluster)[0]
        named = [one for one in parent.children() if "scheduler" in " ".join(words_of(one))]
        return named[0] if named else None

    old = scheduler()
    assert old is not None
    workers = old.children(recursive=True)
    run = api.run("seen")
    old.send_signal(signal.SIGKILL)
    eventually("another scheduler", lambda: (found := scheduler()) and found.pid != old.pid, 60)
    assert not any(map(is_alive, workers)), "its workers would be orphans"
    assert api.ended("seen", run) == "success"


@sandbox
def test_nothing_is_left_when_the_pod_ends(cluster: Cluster) -> None:
    processes = family(cluster)
    pod(cluster).stop()
    _, left = psutil.wait_procs(processes, timeout=10)
    assert [one for one in left if is_alive(one)] == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections linger
        probe.bind((pod(cluster).ip, settings.PORT))
