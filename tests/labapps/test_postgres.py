"""PostgreSQL in a pod: the owner's password is the token, and data outlive a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from labrunner import environments
from tests.labapps.pods import TOKEN, Cluster, Pod, eventually, running
from tests.repo.tree import ROOT

FOUND = environments.find(ROOT, "postgres")
pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(
        not FOUND.is_installed,
        reason="The environment postgres is not installed; `labs setup postgres` installs it.",
    ),
]


class PostgresPod(Pod):
    """A pod whose program runs in the environment of PostgreSQL."""

    python = str(FOUND.folder / "bin" / "python")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("postgres"), "postgres", {})
    made.pods["controller"] = [PostgresPod(made, "controller", 0)]
    with running(made):
        made.settle(180)
        yield made


def pod(cluster: Cluster) -> Pod:
    return cluster.pods["controller"][0]


def connect(
    cluster: Cluster, password: str = TOKEN, *, autocommit: bool = False
) -> psycopg.Connection[Any]:
    where = f"host={pod(cluster).ip} user=labs dbname=labs connect_timeout=30"
    return psycopg.connect(where, password=password, autocommit=autocommit)


def test_owner_is_let_in_with_the_token_and_nobody_without_it(cluster: Cluster) -> None:
    with connect(cluster) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("labs",)
    for password in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match=r"password"):
            connect(cluster, password)
    assert TOKEN not in pod(cluster).log.read_text()


def test_it_listens_on_the_pods_address_only_and_is_not_root(cluster: Cluster) -> None:
    process = pod(cluster).process
    assert process is not None
    children = psutil.Process(process.pid).children(recursive=True)
    listening = {
        one.laddr.ip
        for child in children
        for one in child.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert listening == {pod(cluster).ip}
    with connect(cluster) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS own (number int)")
        connection.execute(f"COPY own FROM PROGRAM 'echo {os.getpid()}; id -u'")
        pid, user = [row[0] for row in connection.execute("SELECT number FROM own")]
    assert pid == os.getpid()
    assert user != 0


def test_what_was_committed_outlives_a_kill_and_a_new_start(cluster: Cluster) -> None:
    with connect(cluster, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    process = pod(cluster).process
    assert process is not None
    (server,) = psutil.Process(process.pid).children()
    server.send_signal(signal.SIGKILL)

    def count() -> int:
        try:
            with connect(cluster) as connection:
                found = connection.execute("SELECT count(*) FROM kept").fetchone()
                return int(found[0]) if found else 0
        except psycopg.OperationalError:
            return 0

    assert eventually("the server to answer again", count, 120) == 1000
    pod(cluster).stop()
    pod(cluster).start()
    cluster.settle(180)
    assert eventually("the data", count, 60) == 1000


def test_nothing_is_left_when_the_pod_ends(cluster: Cluster) -> None:
    process = pod(cluster).process
    assert process is not None
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    pod(cluster).stop()
    _, left = psutil.wait_procs(family, timeout=15)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.fast
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_where_namespaces_are_refused_root_becomes_nobody() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom labapps.member import plain\n"
        "plain.NEW_USER = -1\n"  # a flag that no kernel has
        "plain.become_plain(Path(sys.argv[1]) / 'data')\n"
        "print(os.getresuid(), os.getgroups(), os.stat(Path(sys.argv[1]) / 'data').st_uid)\n"
        "print(open('/dev/stdin').read())\n"  # as initdb reads the password
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)], input="secret", capture_output=True,
            text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.stdout.split("\n")[:2] == ["(65534, 65534, 65534) [] 65534", "secret"], done
    finally:
        shutil.rmtree(folder)
