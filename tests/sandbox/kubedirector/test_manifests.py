"""The workshop's manifests and a learner's mistakes, by kubectl."""

from __future__ import annotations

import pytest

from labsandbox.catalogue import OURS
from labsandbox.client.resources import KDCLUSTERS

from .harness import HERE, Platform

pytestmark = pytest.mark.sandbox

LAB = HERE / "manifests" / "lab.yaml"
ENGINE = """
apiVersion: kubedirector.hpe.com/v1beta1
kind: KubeDirectorCluster
metadata: {name: wrong}
spec:
  app: training-engine
  roles:
    - {id: controller, resources: {limits: {cpu: 100m, memory: 64Mi}}}
"""


@pytest.fixture
def tenant(platform: Platform, namespace: str) -> str:
    """A namespace with the catalogue in it, as a tenant has it."""
    platform.run(OURS.install(platform.client, namespace))
    return namespace


def test_manifests_of_the_workshop_become_configured(platform: Platform, tenant: str) -> None:
    made = platform.kubectl("apply", "-n", tenant, "-f", str(LAB))
    assert made.returncode == 0, made.stderr
    names = ("training-engine-shared", "jupyter-notebook-student1", "inference-server-student1")
    for name in names:
        cluster = platform.wait_configured(name, tenant)
        assert cluster["status"]["problem"] == ""
    listed = platform.kubectl(
        "get", "pod,service,statefulset", "-n", tenant,
        "-l", "kubedirector.hpe.com/kdcluster=training-engine-shared", "-o", "name",
    ).stdout.split()  # fmt: skip
    assert sum(name.startswith("pod/training-engine-shared-loadbalancer-") for name in listed) == 1
    assert sum(name.startswith("statefulset.apps/") for name in listed) == 2
    assert sum(name.startswith("service/") for name in listed) == 3
    described = platform.kubectl(
        "describe", "service", "-n", tenant,
        "-l", "kubedirector.hpe.com/kdcluster=inference-server-student1,"
        "kubedirector.hpe.com/role=LoadBalancer",
    ).stdout  # fmt: skip
    assert "kd-auth-token: " in described
    assert "http-haproxy  32700/TCP" in described
    again = platform.kubectl("apply", "-n", tenant, "-f", str(LAB))
    assert again.stdout.count("unchanged") == 6
    told = platform.kubectl("describe", "kdcluster", names[0], "-n", tenant).stdout
    assert "stable" in told
    apps = platform.kubectl("get", "kdapp", "-n", tenant).stdout
    assert "ML Training Toolkit" in apps
    gone = platform.kubectl("delete", "-n", tenant, "-f", str(LAB), "--timeout=30s")
    assert gone.returncode == 0, gone.stderr


def test_wrong_role_is_refused_with_the_valid_ones(platform: Platform, tenant: str) -> None:
    refused = platform.kubectl("apply", "-n", tenant, "-f", "-", stdin=ENGINE)
    assert refused.returncode != 0
    assert 'admission webhook "hard-validate-cr.kubedirector.hpe.com" denied' in refused.stderr
    assert "Invalid role(controller) in app(training-engine) specified." in refused.stderr
    assert 'Valid roles: "LoadBalancer,RESTServer"' in refused.stderr


def test_status_is_not_a_users_to_write(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace)
    platform.wait_configured("c", namespace)
    words = ("patch", "kdcluster", "c", "-n", namespace, "--type=merge", "-p")
    patch = '{"status": {"state": "creating"}}'
    for more in ((), ("--subresource=status",)):
        refused = platform.kubectl(*words, patch, *more)
        assert "KubeDirector-related status properties are read-only" in refused.stderr
    labelled = platform.kubectl("label", "kdcluster", "c", "-n", namespace, "a=b")
    assert labelled.returncode == 0, labelled.stderr


def test_app_in_use_stays(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace)
    refused = platform.kubectl("delete", "kdapp", "test", "-n", namespace)
    assert f"KubeDirectorCluster resources: {namespace}/c" in refused.stderr


def test_spec_is_modified_then_updating_then_configured(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace)
    cluster = platform.wait_configured("c", namespace)
    version = cluster["metadata"]["resourceVersion"]
    cluster["spec"]["roles"][1]["members"] = 1
    platform.patch(KDCLUSTERS, "c", namespace, {"spec": cluster["spec"]})

    async def follow() -> list[str]:
        states: list[str] = []
        async for _, seen in platform.client.watch(KDCLUSTERS, namespace, resource_version=version):
            state = seen["status"]["state"]
            if not states or states[-1] != state:
                states.append(state)
            if states[1:] and state == "configured":
                break
        return states

    assert platform.run(follow())[-3:] == ["spec modified", "updating", "configured"]
