"""Airflow with a PostgreSQL that its kdcluster names: its records lie there, its key nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.labapps.orchestrator import needs_airflow
from tests.labapps.pods import TOKEN, Cluster, eventually, running
from tests.labapps.test_airflow import AirflowPod, Api
from tests.labapps.test_postgres import FOUND, PostgresPod

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.nightly,
    pytest.mark.timeout(900),
    needs_airflow,
    pytest.mark.skipif(not FOUND.is_installed, reason="`labs setup postgres` installs it."),
]
DAG = """
from airflow.sdk import dag, task

@dag(dag_id="kept", schedule=None)
def kept():
    @task
    def answer():
        return 42

    answer()

kept()
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("database"), "postgres", {})
    made.pods["controller"] = [PostgresPod(made, "controller", 0)]
    with running(made):
        made.settle(240)
        yield made


@pytest.fixture(scope="module")
def airflow(database: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("airflow"), "airflow", {})
    made.pods["controller"] = [AirflowPod(made, "controller", 0)]
    (host,) = [pod.ip for pod in database.all()]
    service = {"authToken": TOKEN, "endpoints": [f"postgresql://{host}:5432"]}
    roles = {"controller": {"services": {"postgres": service}}}
    made.clusters["bank"] = {"nodegroups": {"1": {"roles": roles}}}
    with running(made):
        made.settle(400)
        yield made


def test_records_lie_in_the_connected_database_and_a_run_ends_well(
    database: Cluster, airflow: Cluster
) -> None:
    (pod,) = airflow.pods["controller"]
    api = Api(pod)
    folder = airflow.repository / "airflow" / "test-airflow"
    (folder / "dags" / "kept.py").write_text(DAG)
    eventually("the DAG to be seen", lambda: api.ask("dags")["total_entries"], 180)
    api.ask("dags/kept", {"is_paused": False}, "PATCH")
    run = api.run("kept")
    assert api.ended("kept", run) == "success"
    assert not (pod.root / "var/lib/airflow/airflow.db").exists()
    (host,) = [one.ip for one in database.all()]
    where = f"host={host} user=labs dbname=test_airflow connect_timeout=60"
    with psycopg.connect(where, password=TOKEN) as connection:
        rows = connection.execute("SELECT run_id, state FROM dag_run").fetchall()
    assert rows == [(run, "success")]
    written = [file.read_text("utf-8", "replace") for file in folder.rglob("*.log")]
    assert written
    for text in [*written, pod.log.read_text()]:
        assert f"labs:{TOKEN}" not in text, "the database's address with its password"
