"""The Spark cluster: jobs run on it, workers come, go and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labapps.spark import daemons
from tests.labapps.pods import ROOT, Cluster, Pod, address, call, eventually, running

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(280)]
DRIVER = """
import os, sys, time
from pathlib import Path
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master(os.environ["SPARK_MASTER"])
    .config("spark.executor.memory", "512m")
    .config("spark.cores.max", "3")
    .config("spark.ui.enabled", "false")
    .config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.dir", "file:" + os.environ["EVENTS"])
    .getOrCreate()
)
marks = Path(sys.argv[1])

def slow(number):
    (marks / f"{number}-{os.getpid()}").touch()
    time.sleep(0.5)
    return number

print("TOTAL", spark.sparkContext.parallelize(range(24), 24).map(slow).sum(), flush=True)
spark.stop()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("spark")
    cluster = Cluster(folder, "spark", {"master": 1, "worker": 1}, SPARK_WORKER_CORES="1")
    with running(cluster):
        cluster.settle(120)
        yield cluster


def state(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = call(f"http://{cluster.pods['master'][0].ip}:8080/json/", token=None)[1]
    return found


def alive(cluster: Cluster) -> list[str]:
    return [w["host"] for w in state(cluster)["workers"] if w["state"] == "ALIVE"]


def add_worker(cluster: Cluster) -> Pod:
    pod = Pod(cluster, "worker", len(list(cluster.folder.glob("worker-*"))))
    cluster.pods["worker"].append(pod)
    cluster.write()
    return pod.start()


def workers_of(marks: Path) -> set[str]:
    """Return the Python workers that have left a mark."""
    return {path.name.split("-")[1] for path in marks.iterdir()}


@pytest.mark.on_host
def test_job_survives_a_killed_worker_and_uses_a_new_one(cluster: Cluster, tmp_path: Path) -> None:
    script, marks = tmp_path / "driver.py", tmp_path / "marks"
    script.write_text(DRIVER)
    marks.mkdir()
    master, (first,) = cluster.pods["master"][0], cluster.pods["worker"]
    env = os.environ | {
        "SPARK_MASTER": f"spark://{master.ip}:7077",
        "SPARK_LOCAL_IP": address(),
        "JAVA_HOME": str(next((master.root / "var/lib/spark").glob("java-*"))),
        "PYSPARK_PYTHON": sys.executable,
        "EVENTS": str(cluster.repository / "spark-events"),
        "PYTHONPATH": str(ROOT),
    }
    env.pop("SPARK_HOME", None)
    driver = subprocess.Popen(
        [sys.executable, str(script), str(marks)], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        eventually("the job to run on the first worker", lambda: workers_of(marks), 120)
        add_worker(cluster)
        eventually("the new worker to work too", lambda: len(workers_of(marks)) >= 2, 120)
        first.stop(signal.SIGKILL)
        output, _ = driver.communicate(timeout=200)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 0
    assert f"TOTAL {sum(range(24))}" in output
    assert len(list(marks.iterdir())) >= 24


@pytest.mark.on_host
def test_event_log_of_a_job_is_served_by_the_history_server(cluster: Cluster) -> None:
    assert list((cluster.repository / "spark-events").iterdir())
    url = f"http://{cluster.pods['master'][0].ip}:18080/api/v1/applications"

    def completed() -> bool:
        # The server reads the log every few seconds: it may have seen only its beginning.
        found = call(url, token=None)[1]
        return len(found) == 1 and bool(found[0]["attempts"][0]["completed"])

    eventually("the finished job in the history", completed, 60)


def test_worker_that_leaves_is_no_longer_offered(cluster: Cluster) -> None:
    pod = cluster.pods["worker"][-1]
    eventually("the worker", lambda: pod.ip in alive(cluster))
    pod.stop(signal.SIGTERM)
    cluster.pods["worker"] = []
    cluster.write()
    eventually("the worker to be gone", lambda: pod.ip not in alive(cluster), 90)


def test_master_that_is_killed_knows_its_workers_again(cluster: Cluster) -> None:
    worker = add_worker(cluster)
    eventually("the worker", lambda: worker.ip in alive(cluster), 90)
    master = cluster.pods["master"][0]
    master.stop(signal.SIGKILL)
    master.start()
    eventually("the worker to be back", lambda: worker.ip in alive(cluster), 120)


@pytest.mark.fast
def test_daemons_speak_the_scala_of_their_jars() -> None:
    assert daemons.scala(daemons.spark_home()).startswith("2.")
