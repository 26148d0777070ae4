"""Programs that leave their container's session, name and environment behind stay its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsandbox.client.resources import PODS
from labsandbox.node import processes
from tests.sandbox.cluster import Cluster, pod
from tests.sandbox.conftest import ApiServer

pytestmark = pytest.mark.sandbox

# What Airflow and other servers do: fork twice, lead a session of their own, close what was
# inherited, ignore SIGTERM and write a title over the block that holds the environment.
ESCAPE = """
import ctypes, os, resource, signal, sys, time
if os.fork():
    time.sleep(1000)
os.setsid()
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
null = os.open("/dev/null", os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(null, number)
with open("/proc/self/stat") as file:
    fields = file.read().rpartition(")")[2].split()
begin, end = int(fields[47]), int(fields[48])
ctypes.memset(begin, ord("x"), end - begin)
if "numbers" in sys.argv:
    resource.setrlimit(resource.RLIMIT_RTTIME, (7, 7))
with open(os.environ["POD_ROOT"] + "/pid", "w") as file:
    file.write(str(os.getpid()))
eaten = bytearray(int(sys.argv[1]) << 20)
for start in range(0, len(eaten), 4096):
    eaten[start] = 1
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose node may be killed."""
    made = Cluster(ApiServer(tmp_path_factory.mktemp("escape")).start())
    try:
        made.start("controllers")
        made.start("node", "--allocatable", "cpu=64")
        yield made
    finally:
        made.close()


def escaped(cluster: Cluster, namespace: str, *words: str, **container: object) -> tuple[str, int]:
    """Start a pod with a program that escapes; return the pod's uid and the program's process."""
    made = pod("p", image="python:3", args=["python", "-c", ESCAPE, *words], **container)
    uid = cluster.create(PODS, made, namespace)["metadata"]["uid"]
    place = cluster.state / "node" / "pods" / uid / "c-c" / "root" / "pid"
    pid = int(cluster.until(lambda: place.exists() and place.read_text(), "it has escaped"))
    assert processes._environment(pid).strip(b"\0x") == b""
    return uid, pid


def ended(cluster: Cluster, pid: int) -> None:
    cluster.until(lambda: processes.start_time(pid) is None, f"process {pid} has ended")


def test_escaped_process_ends_with_its_pod(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    _, pid = escaped(fragile, namespace, "1")
    fragile.delete(PODS, "p", namespace)
    fragile.gone(PODS, "p", namespace)
    ended(fragile, pid)


def test_process_that_erased_every_mark_is_ended_at_once(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    _, pid = escaped(fragile, namespace, "1", "numbers")
    ended(fragile, pid)
    assert f"ended process {pid}" in (fragile.state / "node" / "keeper.log").read_text()
    fragile.running(namespace, "p")


def test_escaped_process_counts_for_the_memory_limit(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    resources = {"limits": {"memory": "100Mi"}}
    _, pid = escaped(fragile, namespace, "200", resources=resources, restartPolicy="Never")
    state = fragile.phase(namespace, "p", "Failed")["status"]["containerStatuses"][0]["state"]
    assert state["terminated"]["reason"] == "OOMKilled"
    ended(fragile, pid)


def test_escaped_process_ends_with_its_pod_after_everything_was_killed(fragile: Cluster) -> None:
    """Nobody is left who started it: its number alone says whose it is."""
    namespace = fragile.namespace()
    uid, pid = escaped(fragile, namespace, "1")
    keeper = fragile.keeper()
    fragile.end("node", signal.SIGKILL)
    processes.send([keeper], signal.SIGKILL)
    ended(fragile, keeper)
    fragile.start("node", "--allocatable", "cpu=64")
    fragile.running(namespace, "p")
    fragile.delete(PODS, "p", namespace)
    fragile.gone(PODS, "p", namespace)
    ended(fragile, pid)
    place = fragile.state / "node" / "pods" / uid
    fragile.until(lambda: not place.exists(), "its folder is gone")


def test_stop_ends_what_escaped_a_killed_platform(fragile: Cluster) -> None:
    namespace = fragile.namespace()
    _, pid = escaped(fragile, namespace, "1")
    keeper = fragile.keeper()
    fragile.end("node", signal.SIGKILL)
    processes.send([keeper], signal.SIGKILL)
    ended(fragile, keeper)
    assert processes.kill_node(processes.mark_of(fragile.state)) > 0
    assert processes.start_time(pid) is None
    fragile.start("node", "--allocatable", "cpu=64")


@pytest.mark.fast
def test_process_that_got_the_id_of_a_container_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    # After a power cut, or once all ids were used, a recorded id is some other program's.
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        started = processes.start_time(other.pid)
        assert started is not None
        gone = (other.pid, started - 1)
        assert processes.find_members("uid/c/0", gone, str(tmp_path)) == []
        assert processes.kill_members("uid/c/0", gone, str(tmp_path)) == 0
        assert other.poll() is None
        assert processes.find_members("uid/c/0", (other.pid, started), str(tmp_path)) == [other.pid]
    finally:
        other.kill()
        other.wait()
