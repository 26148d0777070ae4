"""Backups of a running tracking server, the way back, `gc`, and a database of an older release."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labapps.member.configmeta import Configmeta
from labapps.member.place import Place
from labapps.mlflow import backup, store
from labapps.mlflow.backup import BackupError
from tests.labapps.pods import ROOT, Cluster, Pod, call, eventually, running

API = "api/2.0/mlflow"
OLD = "0584bdc529eb"  # MLflow 2.19 to 2.22
MAKE_OLD = """
import sys
from alembic import command
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base

engine = utils.create_sqlalchemy_engine_with_retry(f"sqlite:///{sys.argv[1]}")
Base.metadata.create_all(engine)
config = utils._get_alembic_config(str(engine.url))
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, sys.argv[2])
"""
FILL_OLD = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)
    VALUES (1, 'old', 'mlflow-artifacts:/1', 'active');
INSERT INTO runs (run_uuid, name, status, lifecycle_stage, experiment_id, artifact_uri, start_time)
    VALUES ('0123456789abcdef0123456789abcdef', 'old', 'FINISHED', 'active', 1,
            'mlflow-artifacts:/1/0123456789abcdef0123456789abcdef/artifacts', 1);
INSERT INTO params (key, value, run_uuid)
    VALUES ('alpha', '0.1', '0123456789abcdef0123456789abcdef');
"""


def url(cluster: Cluster, path: str) -> str:
    return f"http://{pod(cluster).ip}:5000/{path}"


def pod(cluster: Cluster) -> Pod:
    return cluster.pods["controller"][0]


def command(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as `kubectl exec` does: in the pod, beside its server."""
    env = os.environ | {
        "POD_ROOT": str(pod(cluster).root),
        "POD_LISTEN_IP": pod(cluster).ip,
        "PROJECT_REPO": str(cluster.repository),
        "PYTHONPATH": str(ROOT),
    }
    line = [sys.executable, "-m", "labapps.mlflow", *words]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=200)


def started_again(cluster: Cluster) -> None:
    """Wait for the server to end, and start it as a node does."""
    process = pod(cluster).process
    assert process is not None
    assert process.wait(60) == 0
    pod(cluster).start()
    eventually("the server to be back", lambda: call(url(cluster, "health"))[0] == 200, 120)


def make_run(cluster: Cluster, experiment: str) -> str:
    body = {"experiment_id": experiment, "start_time": 1}
    run_id = str(call(url(cluster, f"{API}/runs/create"), body)[1]["run"]["info"]["run_id"])
    path = f"{experiment}/{run_id}/artifacts/notes.txt"
    upload = url(cluster, f"api/2.0/mlflow-artifacts/artifacts/{path}")
    assert call(upload, b"hello", method="PUT")[0] == 200
    return run_id


def runs(cluster: Cluster, experiment: str) -> set[str]:
    query = {"experiment_ids": [experiment], "max_results": 1000, "run_view_type": "ALL"}
    found = call(url(cluster, f"{API}/runs/search"), query)[1].get("runs", [])
    return {one["info"]["run_id"] for one in found}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("backup")
    with running(Cluster(folder, "mlflow", {"controller": 1})) as cluster:
        cluster.settle(120)
        yield cluster


@pytest.mark.sandbox
@pytest.mark.timeout(400)
def test_backup_of_a_busy_server_brings_back_what_gc_removed(server: Cluster) -> None:
    experiment = call(url(server, f"{API}/experiments/create"), {"name": "kept"})[1][
        "experiment_id"
    ]
    before = {make_run(server, experiment) for _ in range(5)}
    stop, written = threading.Event(), set()

    def write() -> None:
        while not stop.is_set():
            written.add(make_run(server, experiment))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually("a run of the writer", lambda: written)
        made = command(server, "backup", "monday")
        after_backup = len(written)
        eventually("one more run", lambda: len(written) > after_backup)
    finally:
        stop.set()
        writer.join()
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("Backup monday: ")

    victim = sorted(before)[0]
    call(url(server, f"{API}/runs/delete"), {"run_id": victim})
    assert len(list(server.repository.glob(f"mlflow/*/{experiment}/{victim}"))) == 1
    cleaned = command(server, "gc")
    assert cleaned.returncode == 0, cleaned.stderr
    assert victim not in runs(server, experiment)
    assert not list(server.repository.glob(f"mlflow/*/{experiment}/{victim}/artifacts/*"))

    laid = command(server, "restore", "monday")
    assert laid.stdout.startswith("Backup monday of "), laid.stderr
    started_again(server)
    now = runs(server, experiment)
    assert before <= now
    assert now < before | written, "what was written after the backup is gone"
    (notes,) = server.repository.glob(f"mlflow/*/{experiment}/{victim}/artifacts/notes.txt")
    assert notes.read_text() == "hello"
    read = f"get-artifact?run_id={victim}&path=notes.txt"
    assert call(url(server, read))[0] == 200
    assert (pod(server).root / "var/lib/mlflow/mlflow.db.before-restore").is_file()
    assert "monday" in command(server, "backups").stdout


@pytest.mark.sandbox
@pytest.mark.timeout(400)
def test_backup_that_was_changed_or_does_not_exist_is_refused(server: Cluster) -> None:
    assert command(server, "backup", "tuesday").returncode == 0
    assert "is there already" in command(server, "backup", "tuesday").stderr
    assert "Expected a name" in command(server, "backup", "../out").stderr
    assert "found none" in command(server, "restore", "sunday").stderr
    (database,) = server.repository.glob("mlflow-backups/*/tuesday/mlflow.db")
    with database.open("ab") as file:
        file.write(b"x")
    refused = command(server, "restore", "tuesday")
    assert refused.returncode == 1
    assert "mlflow.db" in refused.stderr
    process = pod(server).process
    assert process is not None
    assert process.poll() is None, "a refused restore does not end the server"


@pytest.mark.nightly
@pytest.mark.sandbox
@pytest.mark.timeout(400)
def test_database_of_an_older_release_is_migrated_after_a_backup(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "mlflow", {"controller": 1})
    path = pod(cluster).root / "var/lib/mlflow/mlflow.db"
    path.parent.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", MAKE_OLD, str(path), OLD], check=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(FILL_OLD)
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (OLD,)
    with running(cluster):
        cluster.settle(200)
        query = {"experiment_ids": ["1"]}
        (run,) = call(url(cluster, f"{API}/runs/search"), query)[1]["runs"]
        assert run["data"]["params"] == [{"key": "alpha", "value": "0.1"}]
        assert make_run(cluster, "1") in runs(cluster, "1")
    (saved,) = cluster.repository.glob("mlflow-backups/*/before-*/mlflow.db")
    with contextlib.closing(sqlite3.connect(saved)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (OLD,)


@pytest.mark.nightly
@pytest.mark.sandbox
@pytest.mark.timeout(200)
def test_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "mlflow", {"controller": 1})
    path = pod(cluster).root / "var/lib/mlflow/mlflow.db"
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    cluster.write()
    process = pod(cluster).start().process
    assert process is not None
    assert process.wait(120) == 1
    assert "ffffffffffff of a newer release" in pod(cluster).log.read_text()


def surroundings(folder: Path) -> tuple[Place, Configmeta]:
    document = {"node": {"role_id": "controller", "fqdn": "m"}, "cluster": {"name": "m", "id": "1"}}
    place = Place(str(folder / "pod"), "127.0.0.1", folder / "repository")
    return place, Configmeta(json.dumps(document).encode())


@pytest.mark.fast
def test_restore_that_broke_off_in_the_middle_goes_on(tmp_path: Path) -> None:
    place, meta = surroundings(tmp_path)
    store.prepare(place, meta)
    for path in backup.databases(place):
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE word (text)")
            database.execute("INSERT INTO word VALUES ('then')")
    backup.save(place, meta, "one")
    for path in backup.databases(place):
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE word SET text = 'now'")
    backup.lay_ready(place, meta, "one")
    main, moves = backup.databases(place)
    os.replace(main, main.with_name("mlflow.db.before-restore"))  # it was killed here
    assert backup.take_over(place)
    assert not backup.take_over(place)
    for path, text in ((main, "then"), (moves, "then")):
        with contextlib.closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT text FROM word").fetchone() == (text,)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "-a", "a" * 64, "a\0"])
def test_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    place, meta = surroundings(tmp_path)
    for use in (backup.save, backup.lay_ready):
        with pytest.raises(BackupError, match="Expected"):
            use(place, meta, name)
    assert not list(tmp_path.rglob("*backup*"))
