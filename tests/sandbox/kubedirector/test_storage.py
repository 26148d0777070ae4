"""Members that keep something: their own volume, volumes of others, shared memory."""

from __future__ import annotations

import pytest

from labsandbox.client.resources import PODS, PVCS, STATEFULSETS

from .harness import Platform

pytestmark = pytest.mark.sandbox


def pod_of(platform: Platform, namespace: str) -> str:
    cluster = platform.wait_configured("c", namespace)
    return str(cluster["status"]["roles"][0]["members"][0]["pod"])


def test_persistent_member_is_not_set_up_twice(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace, role={"storage": {"size": "1Gi"}})
    pod = pod_of(platform, namespace)
    claim = platform.find(PVCS, f"p-{pod}", namespace)
    assert claim is not None
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "KubeDirectorCluster"
    mark = 'echo kept > "$POD_ROOT/opt/guestconfig/mark"'
    platform.shell(namespace, pod, mark)
    old = platform.find(PODS, pod, namespace)
    assert old is not None
    platform.run(platform.client.delete(PODS, pod, namespace, grace=0))

    def look() -> bool:
        found = platform.find(PODS, pod, namespace)
        status = platform.cluster("c", namespace)["status"]
        if found is None or found["metadata"]["uid"] == old["metadata"]["uid"]:
            return False
        (container,) = found["status"].get("containerStatuses") or [{}]
        detail = status["roles"][0]["members"][0]["stateDetail"]
        is_known = detail.get("lastConfiguredContainer") == container.get("containerID")
        return is_known and status["state"] == "configured" and status["readyMembers"] == "1/1"

    platform.wait(look, "the new pod is set up")
    said = f"Member: container ID has changed for member{{{pod}}}; will re-check setup"
    platform.wait(lambda: said in platform.events(namespace, "c"), "an event says so")
    look_for = 'cat "$POD_ROOT/opt/guestconfig/mark" "$POD_ROOT/opt/guestconfig/configure.status"'
    kept = platform.shell(namespace, pod, look_for)
    assert kept.startswith("kept\n")
    assert kept.endswith("=0")
    assert platform.shell(namespace, pod, 'cat "$POD_ROOT/calls" 2>/dev/null') == ""


def test_claim_goes_with_its_member(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace, many=1, role={"storage": {"size": "1Gi"}})
    roles = platform.wait_configured("c", namespace)["spec"]["roles"]
    assert len(platform.run(platform.client.list(PVCS, namespace))) == 2
    roles[1]["members"] = 0
    platform.patch_roles("c", namespace, roles)
    platform.wait_configured("c", namespace)
    platform.wait(
        lambda: len(platform.run(platform.client.list(PVCS, namespace))) == 1, "its claim is gone"
    )
    platform.delete_cluster("c", namespace)
    platform.wait(
        lambda: not platform.run(platform.client.list(PVCS, namespace)), "all claims are gone"
    )


def test_shared_claim_and_memory_are_mounted(platform: Platform, namespace: str) -> None:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    platform.create(PVCS, {"metadata": {"name": "data"}, "spec": spec}, namespace)
    role = {
        "volumeProjections": [{"pvcName": "data", "mountPath": "/data"}],
        "sharedMemory": "64Mi",
        "podLabels": {"team": "blue"},
    }
    platform.make_cluster("c", namespace, many=1, role=role)
    cluster = platform.wait_configured("c", namespace)
    one, many = (role["members"][0]["pod"] for role in cluster["status"]["roles"])
    platform.shell(namespace, one, 'echo hello > "$POD_ROOT/data/file"')
    assert platform.shell(namespace, many, 'cat "$POD_ROOT/data/file"') == "hello\n"
    (stateful_set, *_) = platform.run(platform.client.list(STATEFULSETS, namespace))
    template = stateful_set["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "blue"
    mounts = {m["mountPath"]: m["name"] for m in template["spec"]["containers"][0]["volumeMounts"]}
    assert mounts == {"/data": "projected-vol-0", "/dev/shm": "shmem"}


def test_file_is_injected_before_the_setup(platform: Platform, namespace: str) -> None:
    with platform.serve("hello from outside") as url:
        injection = {"srcURL": url, "destDir": "/injected", "permissions": {"fileMode": 0o600}}
        platform.make_cluster("c", namespace, role={"fileInjections": [injection]})
        pod = pod_of(platform, namespace)
    found = platform.shell(
        namespace, pod, 'cat "$POD_ROOT"/injected/*; stat -c %a "$POD_ROOT"/injected/*'
    )
    assert found == "hello from outside600\n"


def test_fifty_clusters_come_and_go(platform: Platform, namespace: str) -> None:
    folders = platform.count_pod_folders()
    names = [f"c{number}" for number in range(50)]
    for name in names:
        platform.make_cluster(name, namespace)
    for name in names:
        platform.wait_configured(name, namespace, 120)
    for name in names:
        platform.delete_cluster(name, namespace)
    platform.wait(lambda: platform.is_empty(namespace), "no object is left", 120)
    platform.wait(lambda: platform.count_pod_folders() == folders, "no folder is left")
