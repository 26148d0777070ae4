"""kr8s: an asynchronous client with objects that act."""

from __future__ import annotations

import itertools

import kr8s
import pytest
from kr8s.objects import ConfigMap, Deployment, Namespace, Pod

from tests.sandbox.conftest import ApiServer

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(60)]
_numbers = itertools.count(1)


@pytest.fixture
def api(apiserver: ApiServer) -> kr8s.Api:
    return kr8s.api(kubeconfig=str(apiserver.kubeconfig))


@pytest.fixture
def space(api: kr8s.Api) -> str:
    name = f"kr8s-{next(_numbers)}"
    Namespace({"metadata": {"name": name}}, api=api).create()
    account = {"metadata": {"name": "default", "namespace": name}}
    kr8s.objects.ServiceAccount(account, api=api).create()
    return name


def test_kr8s_creates_reads_changes_and_deletes(api: kr8s.Api, space: str) -> None:
    made = ConfigMap({"metadata": {"name": "c", "namespace": space}, "data": {"a": "1"}}, api=api)
    made.create()
    made.patch({"data": {"b": "2"}})
    made.label({"team": "x"})
    found = list(api.get("configmaps", namespace=space, label_selector="team=x"))
    assert [one.name for one in found] == ["c"]
    assert found[0].raw["data"] == {"a": "1", "b": "2"}
    made.delete()
    assert not made.exists()


def test_kr8s_scales_and_waits(api: kr8s.Api, space: str) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    body = {
        "metadata": {"name": "d", "namespace": space},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    deployment = Deployment(body, api=api)
    deployment.create()
    deployment.scale(3)
    deployment.refresh()
    assert deployment.replicas == 3


def test_kr8s_watches(api: kr8s.Api, space: str) -> None:
    ConfigMap({"metadata": {"name": "w", "namespace": space}}, api=api).create()
    for kind, found in api.watch("configmaps", namespace=space):
        assert (kind, found.name) == ("ADDED", "w")
        break


def test_kr8s_pod_conditions(api: kr8s.Api, space: str) -> None:
    body = {
        "metadata": {"name": "p", "namespace": space},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    pod = Pod(body, api=api)
    pod.create()
    condition = {"type": "Ready", "status": "True"}
    pod.patch({"status": {"phase": "Running", "conditions": [condition]}}, subresource="status")
    pod.wait("condition=Ready", timeout=10)
    assert pod.status.phase == "Running"
