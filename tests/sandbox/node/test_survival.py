"""Killing any of the platform's processes, at any moment, costs no pod and leaves none behind."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsandbox.client.resources import PODS
from tests.processes import kill
from tests.sandbox.cluster import Cluster, pod
from tests.sandbox.conftest import ApiServer

pytestmark = pytest.mark.sandbox

SLEEP = "echo up; sleep 1000"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster these tests may break."""
    made = Cluster(ApiServer(tmp_path_factory.mktemp("fragile")).start())
    try:
        made.start("controllers")
        made.start("node")
        yield made
    finally:
        made.close()


def environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def container_pid(cluster: Cluster, uid: str) -> int:
    mark = f"{uid}/c/".encode()
    pids = [pid for pid in cluster.node_pids() if mark in environment(pid)]
    return next(pid for pid in pids if leads_session(pid))


def restarts(cluster: Cluster, namespace: str, name: str) -> int:
    found = cluster.running(namespace, name)
    return int(found["status"]["containerStatuses"][0]["restartCount"])


def test_pod_survives_a_killed_agent_and_its_exit_code_is_known(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    fragile.create(PODS, pod("stays", SLEEP), namespace)
    script = "until [ -e go ]; do sleep 0.05; done; echo late; exit 7"
    fragile.create(PODS, pod("ends", script, restartPolicy="Never"), namespace)
    uid = fragile.running(namespace, "stays")["metadata"]["uid"]
    ends = fragile.running(namespace, "ends")["metadata"]["uid"]
    before = container_pid(fragile, uid)
    fragile.end("node", signal.SIGKILL)
    (fragile.state / "node" / "pods" / ends / "c-c" / "root" / "go").touch()
    fragile.until(lambda: not _lives(fragile, ends), "it ends while nobody watches")
    fragile.start("node")
    ended = fragile.phase(namespace, "ends", "Failed")["status"]["containerStatuses"][0]
    assert ended["state"]["terminated"]["exitCode"] == 7
    assert fragile.logs(namespace, "ends") == "late\n"
    assert restarts(fragile, namespace, "stays") == 0
    assert container_pid(fragile, uid) == before


def _lives(cluster: Cluster, uid: str) -> bool:
    return any(uid.encode() in environment(pid) for pid in cluster.node_pids())


def test_pod_survives_a_killed_keeper(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    fragile.create(PODS, pod("p", SLEEP), namespace)
    uid = fragile.running(namespace, "p")["metadata"]["uid"]
    before = container_pid(fragile, uid)
    kill(fragile.keeper())
    fragile.until(lambda: "Adopted" in fragile.reasons(namespace, "p"), "it is found again")
    assert fragile.shell(namespace, "p", "echo still") == "still"
    assert restarts(fragile, namespace, "p") == 0
    kill(before)
    found = fragile.container(namespace, "p", lambda c: c["restartCount"] == 1)
    assert found["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_everything_killed_at_random_ends_as_wanted(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    dice = random.Random(7)
    names = [f"p{n}" for n in range(8)]
    for name in names:
        fragile.create(PODS, pod(name, SLEEP), namespace)
        if dice.random() < 0.5:
            kill(fragile.keeper())
        if dice.random() < 0.5:
            fragile.end("node", signal.SIGKILL)
            fragile.start("node")
    for name in names:
        fragile.running(namespace, name)
        done = fragile.until(lambda n=name: fragile.shell(namespace, n, "echo ok"), "exec works")
        assert done == "ok"
    marks = [
        word
        for pid in fragile.node_pids()
        for word in environment(pid).split(b"\0")
        if word.startswith(b"LABSANDBOX_CONTAINER=") and leads_session(pid)
    ]
    assert len([m for m in marks if b"exec" not in m]) == len(set(marks)), "a container runs twice"
    for name in names:
        fragile.delete(PODS, name, namespace)
    for name in names:
        fragile.gone(PODS, name, namespace)
    fragile.until(lambda: fragile.list(PODS, namespace) == [], "no pod is left")


def test_pods_deleted_while_the_agent_was_away_are_ended(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    fragile.create(PODS, pod("p", SLEEP), namespace)
    uid = fragile.running(namespace, "p")["metadata"]["uid"]
    fragile.end("node", signal.SIGKILL)
    fragile.delete(PODS, "p", namespace, grace=0)
    fragile.start("node")
    fragile.until(lambda: not _lives(fragile, uid), "its process is gone")
    folder = fragile.state / "node" / "pods" / uid
    fragile.until(lambda: not folder.exists(), "its folder is gone")


def test_fifty_pods_leave_nothing_behind(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    before = set(fragile.node_pids())
    folder = fragile.state / "node" / "pods"
    folders = set(folder.iterdir())
    for n in range(50):
        fragile.create(PODS, pod(f"p{n}", f"(setsid sleep 999 &); {SLEEP}"), namespace)

    def all_run() -> bool:
        pods = fragile.list(PODS, namespace)
        return sum(p["status"].get("phase") == "Running" for p in pods) == 50

    fragile.until(all_run, "fifty pods run", 60)
    for n in range(50):
        fragile.delete(PODS, f"p{n}", namespace)
    fragile.until(lambda: fragile.list(PODS, namespace) == [], "all are gone", 60)
    fragile.until(lambda: set(fragile.node_pids()) <= before, "no process is left")
    fragile.until(lambda: set(folder.iterdir()) <= folders, "no folder is left")
    hosts = (fragile.state / "resolver" / "hosts").read_text()
    assert namespace not in hosts


def test_stop_ends_what_a_killed_platform_left(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    fragile.create(PODS, pod("p", f"(env -u LABSANDBOX_NODE sleep 1 &); {SLEEP}"), namespace)
    fragile.running(namespace, "p")
    fragile.end("node", signal.SIGKILL)
    kill(fragile.keeper())
    assert fragile.node_pids()
    fragile.start("node", "--stop")
    assert fragile.programs.pop("node").wait(20) == 0
    assert fragile.node_pids() == []
    fragile.start("node")
    fragile.container(namespace, "p", lambda c: c["restartCount"] == 1 and c["ready"])
