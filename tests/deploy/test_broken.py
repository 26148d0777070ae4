"""`labs doctor --platform` where the cluster behind the sign-in is broken in one place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labclass.checkup import catalogue, gateway, operator, repository, rights, room, sizes, spark
from labclass.checkup.finding import ADVICE, MISSING, OK, Finding
from labclass.checkup.visit import Visit
from labsandbox import ports
from tests.deploy.kubectl import Kubectl
from tests.deploy.running import Platform
from tests.deploy.visits import TENANT, one, patched, without
from tests.labapps.tls import certificate
from tests.repo.tree import ROOT
from tests.sandbox.platform.program import until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]


def test_missing_app_is_named(visit: Visit, kubectl: Kubectl) -> None:
    with without(kubectl, "kdapp", "spark", "-n", TENANT):
        found, _ = list(catalogue.apps(visit))
    assert found.found == "no spark"
    assert "kubectl apply -k" in found.cure
    assert {each.state for each in catalogue.apps(visit)} == {OK}


def test_placeholder_image_is_found(visit: Visit, kubectl: Kubectl) -> None:
    def role(image: str) -> dict[str, Any]:
        app = kubectl.get("kdapp", "spark", "-n", TENANT)
        roles = [each | {"imageRepoTag": image} for each in app["spec"]["roles"]]
        return {"spec": {"roles": roles}}

    what = ("kdapp", "spark", "-n", TENANT)
    with patched(kubectl, what, role("nowhere/spark:1.0"), role("labs/spark:1.0")):
        _, found = list(catalogue.apps(visit))
    assert "nothing runs here from where nowhere/spark:1.0" in found.found
    assert "build and push the images" in found.cure


def test_missing_rights_are_named(visit: Visit, kubectl: Kubectl) -> None:
    with without(kubectl, "rolebinding", "hpecp-member", "-n", TENANT):
        found = one(rights.needed(visit))
    assert found.found.startswith(
        "not allowed: get kubedirectorclusters, list kubedirectorclusters"
    )
    assert "Bind the learners' group to ClusterRole hpecp-member in k8smltenant" in found.cure
    assert one(rights.needed(visit)).state == OK


def test_door_that_is_open_is_found(visit: Visit, kubectl: Kubectl) -> None:
    role = ("clusterrole", "too-much")
    binding = ("clusterrolebinding", "too-wide")
    kubectl.run("create", *role, "--verb=delete", "--resource=nodes")
    kubectl.run("create", *binding, "--clusterrole=too-much", "--user=student1")
    try:
        found = one(rights.shut(visit))
    finally:
        kubectl.run("delete", *binding)
        kubectl.run("delete", *role)
    assert (found.state, found.found) == (ADVICE, "allowed: delete nodes")


@contextlib.contextmanager
def webhook(kubectl: Kubectl, change: Any) -> Iterator[None]:
    kept = kubectl.get("mutatingwebhookconfiguration", "kubedirector-webhook")
    changed = json.loads(json.dumps(kept))
    for each in changed["webhooks"]:
        change(each)
    for body in (changed, kept):
        body["metadata"].pop("resourceVersion")
    kubectl.run("replace", "-f", "-", text=json.dumps(changed))
    try:
        yield
    finally:
        kubectl.run("replace", "-f", "-", text=json.dumps(kept))


def judged(visit: Visit, state: str) -> Finding:
    """Return what is found of the operator, once the API server knows its changed webhook."""
    until(f"the operator to be {state}", lambda: one(operator.judges(visit)).state == state, 20)
    return one(operator.judges(visit))


def test_operator_that_is_down_is_found(visit: Visit, kubectl: Kubectl) -> None:
    assert judged(visit, OK).found == "refuses a wrong role, takes a right one"
    dead = f"https://127.0.0.1:{ports.choose()}/validate"
    with webhook(kubectl, lambda each: each["clientConfig"].update(url=dead)):
        found = judged(visit, MISSING)
    assert found.found.startswith("500: ")
    assert "failed calling webhook" in found.found
    assert "KubeDirector does not answer" in found.cure
    assert judged(visit, OK).state == OK


def test_operator_that_does_not_judge_is_found(visit: Visit, kubectl: Kubectl) -> None:
    def switch_off(each: dict[str, Any]) -> None:
        each["namespaceSelector"] = {"matchLabels": {"nobody": "has-this"}}

    with webhook(kubectl, switch_off):
        found = judged(visit, MISSING)
    assert found.found == "a manifest with a role that does not exist was taken"
    assert "webhook is not registered" in found.cure
    judged(visit, OK)


def test_quota_that_is_full_is_found(visit: Visit, kubectl: Kubectl) -> None:
    what = ("resourcequota", "tenant-quota", "-n", TENANT)
    hard = kubectl.get(*what)["spec"]["hard"]

    def used() -> str:
        return str(kubectl.get(*what)["status"].get("hard", {}).get("pods"))

    with patched(kubectl, what, {"spec": {"hard": {"pods": "2"}}}, {"spec": {"hard": hard}}):
        until("the quota", lambda: used() == "2")
        found, pod = one(room.quota(visit)), one(room.admitted(visit))
    assert found.found == f"pods: 0 free of 2, {sizes.learner()['pods']} wanted"
    assert "Raise the quota" in found.cure
    assert "exceeded quota: tenant-quota" in pod.found
    until("the quota", lambda: used() == hard["pods"])
    assert one(room.quota(visit)).state == OK


def test_limits_that_are_too_small_are_found(visit: Visit, kubectl: Kubectl) -> None:
    small = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "small", "namespace": TENANT},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "512Mi"}}]},
    }
    kubectl.run("create", "-f", "-", text=json.dumps(small))
    try:
        until("the limit", lambda: one(room.admitted(visit)).state == MISSING, 20)
        found = one(room.admitted(visit))
    finally:
        kubectl.run("delete", "limitrange", "small", "-n", TENANT)
    assert "maximum memory usage per Container is 512Mi" in found.found
    assert "The LimitRange is smaller than a lab" in found.cure


@pytest.fixture
def settings(visit: Visit) -> Iterator[dict[str, str]]:
    """Return the visit's settings, to be changed by one test."""
    kept = dict(visit.settings)
    yield visit.settings
    visit.settings.clear()
    visit.settings.update(kept)


def test_repository_that_is_read_only_is_found(visit: Visit, settings: dict[str, str]) -> None:
    settings["PROJECT_REPO"] = "/sys/kernel"  # where nobody makes a file, whoever they are
    here, pods = list(repository.seen(visit))
    assert here.state == MISSING
    assert here.found in ("Operation not permitted", "Permission denied", "Read-only file system")
    assert "Mount it writable" in here.cure
    assert pods.state == OK, "in pods it can be written"


def test_repository_that_pods_do_not_share_is_found(
    visit: Visit, settings: dict[str, str], tmp_path: Path
) -> None:
    settings["PROJECT_REPO"] = str(tmp_path)
    here, pods = list(repository.seen(visit))
    assert here.state == OK
    assert pods.found.endswith(f"does not see what was written to {tmp_path}")
    assert "two different folders" in pods.cure
    assert list(tmp_path.iterdir()) == []


def test_repository_of_the_hub_is_looked_at_in_pods(
    platform: Platform, visit: Visit, settings: dict[str, str], tmp_path: Path
) -> None:
    before = sorted(platform.repository.rglob("*"))
    settings["PROJECT_REPO"] = str(tmp_path / "on-the-hub-only")
    here, pods = list(repository.seen(visit))
    assert (here.state, pods.state) == (ADVICE, OK)
    assert sorted(platform.repository.rglob("*")) == before


def test_gateway_with_another_certificate_is_found(
    visit: Visit, settings: dict[str, str], tmp_path: Path
) -> None:
    settings["GATEWAY_CA"] = str(certificate(tmp_path)[0])
    found = one(gateway.answers(visit))
    assert "its certificate is not trusted" in found.found


def test_gateway_that_gave_no_address_is_found(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "addresses", lambda visit: {8081: "host:10001"})
    assert "no annotation hpecp-internal-gateway/32700" in one(gateway.answers(visit)).found
    dead = f"127.0.0.1:{ports.choose()}"
    monkeypatch.setattr(gateway, "addresses", lambda visit: {32700: dead})
    assert one(gateway.answers(visit)).found.startswith(f"{dead}: nothing answers")


def test_secret_and_account_that_manifests_name_are_looked_for(
    visit: Visit, kubectl: Kubectl
) -> None:
    with without(kubectl, "secret", "hpecp-ext-auth-secret", "-n", TENANT):
        found = one(catalogue.names(visit))
    assert (found.state, found.found) == (ADVICE, "no secret hpecp-ext-auth-secret")
    with without(kubectl, "serviceaccount", "ecp-tenant-member-sa", "-n", TENANT):
        found = one(catalogue.names(visit))
    assert (found.state, found.found) == (MISSING, "no service account ecp-tenant-member-sa")


def test_shared_cluster_that_is_not_there_is_found(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "SHARED", "no-such-cluster")
    assert one(catalogue.shared(visit)).found == "none"


def test_spark_on_kubernetes_is_looked_at(
    visit: Visit, kubectl: Kubectl, settings: dict[str, str]
) -> None:
    settings["SPARK_MASTER"] = visit.require_api().server.replace("https", "k8s://https")
    assert one(spark.settings(visit)).found == "no claim project-repo in k8smltenant"
    claim = ROOT / "deploy" / "kubernetes" / "tenant" / "repository.yaml"
    kubectl.run("create", "-n", TENANT, "-f", str(claim))
    try:
        assert one(spark.settings(visit)).state == ADVICE, "no image is named"
        settings["SPARK_CONF_spark_kubernetes_container_image"] = "labs/spark:1.0"
        assert one(spark.settings(visit)).state == OK
        settings["SPARK_CONF_spark_kubernetes_namespace"] = "elsewhere"
        assert "executors in elsewhere" in one(spark.settings(visit)).found
    finally:
        kubectl.run("delete", "-n", TENANT, "-f", str(claim), "--wait=false")
    settings["SPARK_MASTER"] = "yarn"
    assert one(spark.settings(visit)).state == MISSING
    settings["SPARK_MASTER"] = f"spark://127.0.0.1:{ports.choose()}"
    assert one(spark.settings(visit)).found == "Connection refused"
    settings["SPARK_MASTER"] = "local[4]"
    assert one(spark.settings(visit)).state == OK
