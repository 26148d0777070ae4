"""Semaphores, shared memory and sockets between a pod's programs, and of no other pod's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labsandbox.client.resources import PODS
from labsandbox.node import images, shm, storage, view
from tests.sandbox.cluster import IMAGES, Cluster, pod
from tests.sandbox.conftest import ApiServer

pytestmark = pytest.mark.sandbox

TABLE = """
[images."busybox:*"]
args = ["sh"]
[images."python:*"]
args = ["{python}"]
[images."sockets:1"]
args = ["{python}"]
shared_memory = "this test has semaphores"
unix_sockets = "this test has a manager of multiprocessing"
"""

SEMAPHORES = """
import multiprocessing
from multiprocessing.shared_memory import SharedMemory

def add(lock, name):
    for _ in range(1000):
        with lock:
            memory = SharedMemory(name)
            memory.buf[0] = (memory.buf[0] + 1) % 250
            memory.close()

if __name__ == "__main__":
    lock, memory = multiprocessing.Lock(), SharedMemory("counter", create=True, size=8)
    workers = [multiprocessing.Process(target=add, args=(lock, "counter")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(memory.buf[0], flush=True)
    __import__("time").sleep(600)
"""

MANAGER = """
import multiprocessing

if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        print(manager.dict(a=1)["a"])
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with an image that may use sockets."""
    made = Cluster(ApiServer(tmp_path_factory.mktemp("shared")).start())
    table = made.state / "images.toml"
    table.write_text(TABLE)
    try:
        made.start("controllers")
        made.start("node", "--allocatable", "cpu=64", "--images", str(table))
        yield made
    finally:
        made.close()


def start(cluster: Cluster, namespace: str, name: str, script: str, **container: object) -> str:
    """Run a Python file in a pod; return the pod's uid."""
    shell = 'printf %s "$SCRIPT" > $POD_ROOT/x.py; exec python $POD_ROOT/x.py'
    env = [{"name": "SCRIPT", "value": script}]
    made = pod(name, shell, env=env, **{"image": "python:3", **container})
    return str(cluster.create(PODS, made, namespace)["metadata"]["uid"])


@pytest.mark.skipif(not view.is_possible(), reason="this machine refuses mount namespaces")
def test_pods_have_semaphores_and_shared_memory_of_their_own(shared: Cluster) -> None:
    namespace = shared.namespace()
    uids = [start(shared, namespace, name, SEMAPHORES) for name in ("a", "b")]
    for name in ("a", "b"):
        assert shared.until(lambda name=name: shared.logs(namespace, name), "it counts") == "0\n"
    assert shared.shell(namespace, "a", "ls /dev/shm") == "counter"
    assert "counter" not in os.listdir("/dev/shm")
    for name in ("a", "b"):
        shared.delete(PODS, name, namespace)
        shared.gone(PODS, name, namespace)
    for uid in uids:
        shared.until(lambda uid=uid: not list(Path("/dev/shm").glob(f"*{uid}")), "it is gone")


@pytest.mark.skipif(not view.is_possible(), reason="this machine refuses mount namespaces")
def test_files_in_shared_memory_count_for_the_memory_limit(shared: Cluster) -> None:
    namespace = shared.namespace()
    script = (
        "import os, time\n"
        "with open('/dev/shm/file', 'wb') as file:\n"
        "    [file.write(os.urandom(1 << 20)) for _ in range(150)]\n"
        "time.sleep(600)"
    )
    resources = {"limits": {"memory": "100Mi"}}
    start(shared, namespace, "p", script, resources=resources, restartPolicy="Never")
    status = shared.phase(namespace, "p", "Failed")["status"]["containerStatuses"][0]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"


def test_image_that_may_use_sockets_runs_a_manager(shared: Cluster) -> None:
    """On which Airflow's Kubernetes executor is built: its socket lies below TMPDIR."""
    namespace = shared.namespace()
    start(shared, namespace, "p", MANAGER, image="sockets:1", restartPolicy="Never")
    shared.phase(namespace, "p", "Succeeded")
    assert shared.logs(namespace, "p") == "1\n"


@pytest.mark.fast
def test_folder_is_made_for_the_owner_alone_and_removed_by_node() -> None:
    node = f"test{os.getpid()}"
    folder = Path(shm.make(node, "u1") or "")
    assert shm.make(node, "u1") == str(folder)
    assert folder.stat().st_mode & 0o077 == 0
    assert shm.make(node, "u2")
    shm.remove(node, "u1")
    assert [path.name for path in Path("/dev/shm").glob(f"labs-{node}-*")] == [f"labs-{node}-u2"]
    shm.remove(node)
    assert not list(Path("/dev/shm").glob(f"labs-{node}-*"))


@pytest.mark.fast
def test_shared_memory_has_a_bound(tmp_path: Path) -> None:
    bounds = storage.bounds({"containers": [{"name": "c"}]}, tmp_path, str(tmp_path))
    assert [bound.message for bound in bounds] == ['Usage of /dev/shm exceeds the limit "1Gi". ']


@pytest.mark.fast
def test_images_of_ours_ask_for_no_shared_memory_of_the_machine() -> None:
    known = images.Images(IMAGES).known()
    asking = {name: image.shared_memory for name, image in known.items() if image.shared_memory}
    assert asking.keys() <= {"labs/airflow:1.0"}, "its executor needs semaphores; see image.toml"
