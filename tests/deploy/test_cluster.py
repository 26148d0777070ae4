"""What `kubectl apply -k` makes on a real API server with KubeDirector works, for a learner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labclass.checkup import sizes
from labclass.checkup.operator import manifest
from tests.deploy.kubectl import Kubectl
from tests.deploy.running import NAMESPACE, Platform
from tests.sandbox.platform.program import until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

DRIVER = "system:serviceaccount:labs-hub:spark-driver"


@pytest.fixture
def admin(platform: Platform, applied: str) -> Kubectl:
    return platform.kubectl


@pytest.fixture
def member(admin: Kubectl) -> Kubectl:
    return admin.speaking_as("learner", f"hpecp:{NAMESPACE}:member")


def state(kubectl: Kubectl, name: str) -> str:
    found = kubectl.get("kdcluster", name, "-n", NAMESPACE)
    return str((found.get("status") or {}).get("state"))


def notebook(name: str, role: str = "controller") -> str:
    found: dict[str, Any] = manifest(role)
    found["metadata"] = {"name": name, "namespace": NAMESPACE}
    return json.dumps(found)


def test_second_time_changes_nothing(admin: Kubectl, site: Path) -> None:
    until("the shared cluster", lambda: state(admin, "training-engine-shared") == "configured")
    again = admin.run("apply", "-k", str(site)).stdout.splitlines()
    assert len(again) > 25
    assert [line for line in again if not line.endswith(" unchanged")] == []
    assert admin.run("diff", "-k", str(site)).stdout == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("create", "kubedirectorclusters.kubedirector.hpe.com"), True),
        (("delete", "kubedirectorclusters.kubedirector.hpe.com"), True),
        (("list", "kubedirectorapps.kubedirector.hpe.com"), True),
        (("delete", "kubedirectorapps.kubedirector.hpe.com"), False),
        (("update", "configmaps"), True),
        (("create", "secrets"), True),
        (("get", "pods", "--subresource=log"), True),
        (("create", "pods", "--subresource=exec"), True),
        (("create", "rolebindings.rbac.authorization.k8s.io"), False),
        (("delete", "resourcequotas"), False),
        (("update", "networkpolicies.networking.k8s.io"), False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_member_may(member: Kubectl, words: tuple[str, ...], expected: bool) -> None:
    assert member.may(*words, "-n", NAMESPACE) is expected
    assert not member.may(*words, "-n", "labs-hub"), "elsewhere nothing"


def test_drivers_account_makes_executors_and_reads_no_secret(admin: Kubectl) -> None:
    driver = admin.speaking_as(DRIVER, "system:serviceaccounts")
    assert driver.may("create", "pods", "-n", NAMESPACE)
    assert driver.may("deletecollection", "configmaps", "-n", NAMESPACE)
    for words in (("get", "secrets"), ("create", "pods", "--subresource=exec")):
        assert not driver.may(*words, "-n", NAMESPACE)
    assert not driver.may("create", "pods", "-n", "labs-hub")


def test_wrong_role_is_refused_by_the_operator(member: Kubectl) -> None:
    done = member.run("apply", "-f", "-", text=notebook("wrong", "no-such-role"), check=False)
    assert done.returncode != 0
    assert "Invalid role(no-such-role) in app(jupyter-notebook)" in done.stderr


def test_notebook_of_a_learner_becomes_configured(member: Kubectl) -> None:
    member.run("apply", "-f", "-", text=notebook("notebook"))
    until("the notebook", lambda: state(member, "notebook") == "configured")
    (pod,) = member.get("pod", "-n", NAMESPACE, "-l", "kubedirector.hpe.com/kdcluster=notebook")[
        "items"
    ]
    assert pod["status"]["phase"] == "Running"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == sizes.notebook()


def test_quota_refuses_one_kdcluster_too_many(member: Kubectl) -> None:
    member.run("apply", "-f", "-", text=notebook("notebook"))
    done = member.run("apply", "-f", "-", text=notebook("third"), check=False)
    assert "exceeded quota: tenant-quota" in done.stderr
    assert "used: count/kubedirectorclusters.kubedirector.hpe.com=2" in done.stderr


def test_pod_that_wants_the_node_is_refused(member: Kubectl) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "nosy", "namespace": NAMESPACE},
        "spec": {
            "hostNetwork": True,
            "containers": [{"name": "x", "image": "busybox"}],
        },
    }
    done = member.run("apply", "-f", "-", text=json.dumps(pod), check=False)
    assert 'violates PodSecurity "baseline:latest"' in done.stderr


def test_pod_without_resources_gets_those_of_the_limits(member: Kubectl) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "x", "image": "busybox"}]},
    }
    tried = member.run("create", "-f", "-", "--dry-run=server", "-o", "json", text=json.dumps(pod))
    resources = json.loads(tried.stdout)["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "100m", "memory": "128Mi"}
    assert resources["limits"] == {"cpu": "500m", "memory": "1Gi"}


def test_claim_of_the_project_repository_is_bound(admin: Kubectl) -> None:
    def phase() -> str:
        claim = admin.get("pvc", "project-repo", "-n", NAMESPACE)
        return str(claim["status"].get("phase"))

    until("the claim", lambda: phase() == "Bound")


def test_tenant_is_removed_as_the_page_says(admin: Kubectl, site: Path) -> None:
    admin.run("delete", "kdcluster", "--all", "-n", NAMESPACE)
    admin.run("delete", "-k", str(site / "tenant"), "--ignore-not-found")
    left = admin.run("get", "namespace", "-o", "name").stdout.split()
    assert f"namespace/{NAMESPACE}" not in left
    # What the tenants share stays: the doctor's tests look at another one of this platform.
    roles = admin.run("get", "clusterrole", "-o", "name").stdout.split()
    assert "clusterrole.rbac.authorization.k8s.io/hpecp-member" in roles
