"""The official Python client: typed and dynamic, watches, leader election."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

from tests.sandbox.conftest import ROOT, ApiServer

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.timeout(150),
    # The client names its own deprecated helpers; nothing here uses them.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:kubernetes"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:urllib3"),
]
_numbers = itertools.count(1)


@pytest.fixture
def api(apiserver: ApiServer) -> Iterator[client.ApiClient]:
    settings = client.Configuration()
    config.load_kube_config(str(apiserver.kubeconfig), client_configuration=settings)
    settings.retries = urllib3.Retry(0)
    with client.ApiClient(settings) as found:
        yield found


@pytest.fixture
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


@pytest.fixture
def space(core: client.CoreV1Api) -> str:
    name = f"python-{next(_numbers)}"
    core.create_namespace({"metadata": {"name": name}})
    core.create_namespaced_service_account(name, {"metadata": {"name": "default"}})
    return name


def wait_for(seen: Callable[[], Any], what: str, seconds: float = 45) -> Any:
    """Wait for a condition; say what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := seen():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def test_python_client_typed_life_of_a_config_map(core: client.CoreV1Api, space: str) -> None:
    body = client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name="c", labels={"a": "b"}), data={"x": "1"}
    )
    made = core.create_namespaced_config_map(space, body)
    assert made.metadata.uid
    assert made.metadata.creation_timestamp.tzinfo is not None
    made.data["x"] = "2"
    changed = core.replace_namespaced_config_map("c", space, made)
    assert changed.data == {"x": "2"}
    with pytest.raises(ApiException) as refused:
        core.replace_namespaced_config_map("c", space, made)
    assert refused.value.status == 409
    patched = core.patch_namespaced_config_map("c", space, {"data": {"y": "3"}})
    assert patched.data == {"x": "2", "y": "3"}
    found = core.list_namespaced_config_map(space, label_selector="a=b", limit=1)
    assert [one.metadata.name for one in found.items] == ["c"]
    core.delete_namespaced_config_map("c", space)
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("c", space)
    assert gone.value.status == 404


def test_python_client_typed_pods_and_deployments(
    api: client.ApiClient, core: client.CoreV1Api, space: str
) -> None:
    containers = [client.V1Container(name="c", image="busybox")]
    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(generate_name="p-"),
        spec=client.V1PodSpec(containers=containers),
    )
    made = core.create_namespaced_pod(space, pod)
    assert made.metadata.name.startswith("p-")
    assert made.status.phase == "Pending"
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"a": "b"}),
        spec=client.V1PodSpec(containers=containers),
    )
    apps = client.AppsV1Api(api)
    spec = client.V1DeploymentSpec(
        selector=client.V1LabelSelector(match_labels={"a": "b"}), template=template
    )
    apps.create_namespaced_deployment(
        space, client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec)
    )
    scaled = apps.patch_namespaced_deployment_scale("d", space, {"spec": {"replicas": 4}})
    assert scaled.spec.replicas == 4
    assert apps.read_namespaced_deployment("d", space).spec.replicas == 4


def test_python_client_watch_sees_changes_in_order(core: client.CoreV1Api, space: str) -> None:
    start = core.list_namespaced_config_map(space).metadata.resource_version
    core.create_namespaced_config_map(space, {"metadata": {"name": "w"}, "data": {"a": "1"}})
    core.patch_namespaced_config_map("w", space, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("w", space)
    watcher = watch.Watch()
    kinds = []
    for event in watcher.stream(
        core.list_namespaced_config_map, space, resource_version=start, timeout_seconds=10
    ):
        kinds.append(event["type"])
        assert event["object"].metadata.name == "w"
        if event["type"] == "DELETED":
            watcher.stop()
    assert kinds == ["ADDED", "MODIFIED", "DELETED"]


def test_python_client_watch_resumes_like_an_informer(core: client.CoreV1Api, space: str) -> None:
    """List, watch, lose the connection, watch on from the last version: nothing is missed."""
    seen: dict[str, str] = {}
    listed = core.list_namespaced_config_map(space)
    version = listed.metadata.resource_version
    for round_number in range(3):
        core.create_namespaced_config_map(space, {"metadata": {"name": f"r{round_number}"}})
        for event in watch.Watch().stream(
            core.list_namespaced_config_map,
            space,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=1,
        ):
            version = event["raw_object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                seen[event["object"].metadata.name] = event["type"]
                break
    assert seen == {"r0": "ADDED", "r1": "ADDED", "r2": "ADDED"}


def test_python_client_dynamic_discovers_and_applies(api: client.ApiClient, space: str) -> None:
    found = dynamic.DynamicClient(api)
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    made = maps.create(body={"metadata": {"name": "d"}, "data": {"a": "1"}}, namespace=space)
    assert made.metadata.namespace == space
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "d"},
        "data": {"b": "2"},
    }
    applied = maps.server_side_apply(body=body, name="d", namespace=space, field_manager="test")
    assert dict(applied.data) == {"a": "1", "b": "2"}
    assert [one.metadata.name for one in maps.get(namespace=space).items] == ["d"]
    jobs = found.resources.get(api_version="batch/v1", kind="Job")
    assert jobs.namespaced
    assert "create" in jobs.verbs


def test_python_client_errors_carry_the_status(core: client.CoreV1Api, space: str) -> None:
    with pytest.raises(ApiException) as invalid:
        core.create_namespaced_config_map(space, {"metadata": {"name": "Bad_Name"}})
    assert invalid.value.status == 422
    assert "RFC 1123" in invalid.value.body


def test_python_client_elects_one_leader_and_then_another(
    apiserver: ApiServer, core: client.CoreV1Api, space: str
) -> None:
    with contextlib.ExitStack() as stack:
        candidates = {name: stack.enter_context(_stand(apiserver, space, name)) for name in "ab"}
        first = wait_for(lambda: _leader(core, space), "the first election")
        assert candidates[first].stdout.readline() == f"{first} leads\n"
        candidates[first].kill()
        other = "b" if first == "a" else "a"
        wait_for(lambda: _leader(core, space) == other, "the second election")
        assert candidates[other].stdout.readline() == f"{other} leads\n"


def _leader(core: client.CoreV1Api, space: str) -> str:
    found = core.list_namespaced_config_map(space, field_selector="metadata.name=leader").items
    if not found:
        return ""
    record = found[0].metadata.annotations["control-plane.alpha.kubernetes.io/leader"]
    return str(json.loads(record)["holderIdentity"])


@contextlib.contextmanager
def _stand(apiserver: ApiServer, space: str, name: str) -> Iterator[Any]:
    command = [sys.executable, "-m", "tests.sandbox.clients.candidate"]
    with subprocess.Popen(
        [*command, str(apiserver.kubeconfig), space, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
