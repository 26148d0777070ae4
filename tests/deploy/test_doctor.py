"""`labs doctor --platform` on a platform that is well, and on one that is broken in one place."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labrunner import cli
from labrunner.checkup import (
    catalogue,
    front,
    gateway,
    kubeconfig,
    looks,
    operator,
    repository,
    rights,
    room,
    spark,
)
from labrunner.checkup.finding import ADVICE, MISSING, OK, SKIPPED, Finding
from labrunner.checkup.looks import LOOKS, Look, examine
from labrunner.checkup.visit import Visit, settings_of, visiting
from labsandbox import ports
from tests.deploy.conftest import Platform
from tests.deploy.kubectl import Kubectl
from tests.labapps.tls import certificate
from tests.repo.tree import ROOT
from tests.sandbox.platform.program import until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]

NAMESPACE = "k8smltenant"
WAY_IN = LOOKS[: [each.name for each in LOOKS].index("Kubernetes") + 1]


def look(platform: Platform, *more: Look, **changed: str) -> dict[str, Finding]:
    """Visit the platform with changed settings; return the findings on the way in, and more."""
    visit = Visit(platform.settings | changed)
    with visiting(visit):
        return {found.name: found for found in examine(visit, [*WAY_IN, *more])}


@pytest.fixture(scope="module")
def visit(platform: Platform) -> Iterator[Visit]:
    """Return a visit that has got as far as the cluster."""
    until("the shared cluster", lambda: shared(platform.kubectl) == "configured")
    with visiting(Visit(dict(platform.settings))) as visit:
        states = {found.name: found.state for found in examine(visit, WAY_IN)}
        assert set(states.values()) == {OK}, states
        yield visit


@pytest.fixture
def kubectl(platform: Platform, visit: Visit) -> Kubectl:
    return platform.kubectl


def shared(kubectl: Kubectl) -> str:
    found = kubectl.get("kdcluster", "training-engine-shared", "-n", NAMESPACE)
    return str((found.get("status") or {}).get("state"))


def one(found: Iterator[Finding]) -> Finding:
    (only,) = list(found)
    return only


@contextlib.contextmanager
def without(kubectl: Kubectl, *what: str) -> Iterator[None]:
    """Remove an object for a while."""
    kept = kubectl.get(*what)
    for name in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
        kept["metadata"].pop(name, None)
    kubectl.run("delete", *what)
    try:
        yield
    finally:
        kubectl.run("create", "-f", "-", text=json.dumps(kept))


@contextlib.contextmanager
def patched(kubectl: Kubectl, what: tuple[str, ...], patch: Any, back: Any) -> Iterator[None]:
    """Change an object for a while."""
    kubectl.run("patch", *what, "--type=merge", "-p", json.dumps(patch))
    try:
        yield
    finally:
        kubectl.run("patch", *what, "--type=merge", "-p", json.dumps(back))


def settings_file(platform: Platform, folder: Path, **changed: str) -> Path:
    path = folder / "platform.env"
    lines = [f"{name}={value}" for name, value in (platform.settings | changed).items()]
    path.write_text("\n".join(lines))
    return path


def objects(kubectl: Kubectl) -> set[str]:
    kinds = "pods,services,configmaps,secrets,kubedirectorclusters,kubedirectorapps"
    return set(kubectl.run("get", kinds, "-n", NAMESPACE, "-o", "name").stdout.split())


def test_platform_that_is_well_passes_and_keeps_nothing(
    platform: Platform, kubectl: Kubectl, tmp_path: Path
) -> None:
    before = objects(kubectl), sorted(platform.repository.rglob("*"))
    file = settings_file(platform, tmp_path)
    done = CliRunner().invoke(cli.app, ["doctor", "--platform", str(file), "--students", "2"])
    assert done.exit_code == 0, done.output
    signs = [line[0] for line in done.output.splitlines() if line]
    assert set(signs[:-1]) == {"✓"}, done.output
    assert "The labs can begin." in done.output
    assert (objects(kubectl), sorted(platform.repository.rglob("*"))) == before


def test_json_says_the_same_and_holds_no_secret(
    platform: Platform, kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits: list[Visit] = []
    monkeypatch.setattr(
        "labrunner.checkup.command.Visit",
        lambda *words, **more: visits.append(Visit(*words, **more)) or visits[-1],
    )
    file = settings_file(platform, tmp_path)
    words = ["doctor", "--platform", str(file), "--students", "900", "--json"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert [f["name"] for f in document["findings"] if f["state"] != OK] == ["Room"]
    (visit,) = visits
    assert len(visit.secrets) >= 4, "password, session twice, token"
    assert not [secret for secret in visit.secrets if secret in done.output]
    left = front.requests.get(
        f"{visit.url}/api/v2/session",
        headers={"X-BDS-SESSION": visit.http.headers["X-BDS-SESSION"]},
        verify=platform.settings["EZMERAL_CA"],
        timeout=10,
    )
    assert left.status_code == 401, "the session was signed out"


def test_secret_in_a_servers_words_is_masked(platform: Platform) -> None:
    def chatty(visit: Visit) -> Iterator[Finding]:
        yield Finding("Chatty", MISSING, "silence", f"I was told {sorted(visit.secrets)}", "")

    found = look(platform, Look("Chatty", "cluster", chatty))["Chatty"]
    assert "…" in found.found
    assert Path(platform.settings["EZMERAL_PASSWORD_FILE"]).read_text() not in found.found


def test_settings_that_are_not_there_are_named(platform: Platform) -> None:
    found = look(platform, EZMERAL_TENANT="", PROJECT_REPO="")
    assert found["Settings"].found == "no EZMERAL_TENANT, PROJECT_REPO"
    assert {each.state for name, each in found.items() if name != "Settings"} == {SKIPPED}
    assert look(platform, EZMERAL_URL="http://x")["Settings"].state == MISSING
    example = look(platform, EZMERAL_URL="https://platform.site.example:8080")["Settings"]
    assert "the example's" in example.found


def test_certificate_of_somebody_else_is_not_trusted(platform: Platform, tmp_path: Path) -> None:
    wrong, _ = certificate(tmp_path)
    found = look(platform, EZMERAL_CA=str(wrong))
    assert found["Certificate"].state == ADVICE, "it is valid for an hour"
    assert "its certificate is not trusted" in found["Front door"].found
    assert "another platform" in found["Front door"].cure
    assert found["Sign-in"].state == SKIPPED, "no password was sent"


@pytest.mark.parametrize(
    "path", ["deploy/kubernetes/site-example/ca.crt", "no-such-file", "README.md"]
)
def test_file_that_is_no_certificate_is_named(platform: Platform, path: str) -> None:
    found = look(platform, EZMERAL_CA=str(ROOT / path))["Certificate"]
    assert found.state == MISSING
    assert path in found.found


def test_front_door_that_is_down_is_found(platform: Platform) -> None:
    found = look(platform, EZMERAL_URL=f"https://127.0.0.1:{ports.choose()}")
    assert found["Front door"].found.startswith("nothing answers")
    assert "curl -v" in found["Front door"].cure


def test_something_else_behind_the_address_is_found(platform: Platform, visit: Visit) -> None:
    found = look(platform, EZMERAL_URL=visit.require_api().server)
    assert found["REST API"].state == MISSING
    assert "Something else answers" in found["REST API"].cure


def test_wrong_password_is_said_and_not_repeated(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("not-the-password")
    found = look(platform, EZMERAL_USER="student2", EZMERAL_PASSWORD_FILE=str(file))["Sign-in"]
    assert found.found.startswith("401: The user name or the password is wrong")
    assert "Is it the password of student2?" in found.cure
    assert "not-the-password" not in f"{found}"


def test_password_that_nobody_gives_is_asked_for(platform: Platform) -> None:
    found = look(platform, EZMERAL_PASSWORD_FILE="")["Sign-in"]
    assert found.found == "no EZMERAL_PASSWORD_FILE, and nobody to ask"
    asked: list[str] = []
    right = Path(platform.settings["EZMERAL_PASSWORD_FILE"]).read_text()
    visit = Visit(platform.settings | {"EZMERAL_PASSWORD_FILE": ""})
    visit.ask = lambda prompt: asked.append(prompt) or right  # type: ignore[func-returns-value]
    with visiting(visit):
        states = {found.name: found.state for found in examine(visit, WAY_IN)}
    assert states["Sign-in"] == OK
    assert asked == ["Password of student1: "]


def test_tenant_of_others_is_refused(platform: Platform) -> None:
    found = look(platform, EZMERAL_TENANT="K8sAuditTenant")["Sign-in"]
    assert found.found.startswith("403: student1 is not a member of a tenant")
    assert "Make student1 a member of K8sAuditTenant" in found.cure


def test_instructor_is_told_to_look_as_a_learner(platform: Platform) -> None:
    file = Path(platform.settings["EZMERAL_PASSWORD_FILE"]).with_name("instructor")
    found = look(platform, EZMERAL_USER="instructor", EZMERAL_PASSWORD_FILE=str(file))
    assert (found["Tenant"].state, found["Tenant"].found) == (ADVICE, "Admin of K8sMLTenant")


def test_session_that_ends_in_between_is_said(platform: Platform) -> None:
    def signs_out(visit: Visit) -> Iterator[Finding]:
        visit.call("DELETE", str(visit.http.headers["X-BDS-SESSION"]))
        # The API server remembers a token that was good for a few seconds: take one it never knew.
        visit.require_api().http.headers["Authorization"] = "Bearer of-a-session-that-is-over"
        yield Finding("Signs out", OK, "", "")

    ends = Look("Signs out", "cluster", signs_out)
    again = [Look("Kubeconfig again", "session", kubeconfig.fetched)]
    found = look(platform, ends, Look("Rights", "cluster", rights.needed), *again)
    assert "the session is over" in found["Rights"].found
    assert "Run this again" in found["Rights"].cure
    assert found["Kubeconfig"].found.startswith("401")


def test_plugin_that_is_not_there_is_named(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = look(platform)["Credential"]
    assert "kubectl-hpecp" in found.found or "python" in found.found
    assert "Put" in found.cure
    assert "into the PATH" in found.cure


def test_kubectl_plugin_needs_both_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "kubectl" else None)
    told, problem = kubeconfig._run({"command": "kubectl", "args": ["hpecp", "authenticate"]})
    assert told == {}
    assert problem is not None
    assert problem[0] == "no program kubectl-hpecp"


def test_plugin_that_fails_is_quoted() -> None:
    script = "echo first >&2; echo 'kubectl-hpecp: Your session is over.' >&2; exit 1"
    _, problem = kubeconfig._run({"command": "sh", "args": ["-c", script]})
    assert problem is not None
    assert problem[0] == "sh failed: kubectl-hpecp: Your session is over."


def test_missing_app_is_named(visit: Visit, kubectl: Kubectl) -> None:
    with without(kubectl, "kdapp", "spark", "-n", NAMESPACE):
        found, _ = list(catalogue.apps(visit))
    assert found.found == "no spark"
    assert "kubectl apply -k" in found.cure
    assert {each.state for each in catalogue.apps(visit)} == {OK}


def test_placeholder_image_is_found(visit: Visit, kubectl: Kubectl) -> None:
    def role(image: str) -> dict[str, Any]:
        app = kubectl.get("kdapp", "spark", "-n", NAMESPACE)
        roles = [each | {"imageRepoTag": image} for each in app["spec"]["roles"]]
        return {"spec": {"roles": roles}}

    what = ("kdapp", "spark", "-n", NAMESPACE)
    with patched(kubectl, what, role("nowhere/spark:1.0"), role("labs/spark:1.0")):
        _, found = list(catalogue.apps(visit))
    assert "nothing runs here from where nowhere/spark:1.0" in found.found
    assert "build and push the images" in found.cure


def test_missing_rights_are_named(visit: Visit, kubectl: Kubectl) -> None:
    with without(kubectl, "rolebinding", "hpecp-member", "-n", NAMESPACE):
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
    what = ("resourcequota", "tenant-quota", "-n", NAMESPACE)
    hard = kubectl.get(*what)["spec"]["hard"]

    def used() -> str:
        return str(kubectl.get(*what)["status"].get("hard", {}).get("pods"))

    with patched(kubectl, what, {"spec": {"hard": {"pods": "2"}}}, {"spec": {"hard": hard}}):
        until("the quota", lambda: used() == "2")
        found, pod = one(room.quota(visit)), one(room.admitted(visit))
    assert found.found == "pods: 0 free of 2, 3 wanted"
    assert "Raise the quota" in found.cure
    assert "exceeded quota: tenant-quota" in pod.found
    until("the quota", lambda: used() == hard["pods"])
    assert one(room.quota(visit)).state == OK


def test_limits_that_are_too_small_are_found(visit: Visit, kubectl: Kubectl) -> None:
    small = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "small", "namespace": NAMESPACE},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "512Mi"}}]},
    }
    kubectl.run("create", "-f", "-", text=json.dumps(small))
    try:
        until("the limit", lambda: one(room.admitted(visit)).state == MISSING, 20)
        found = one(room.admitted(visit))
    finally:
        kubectl.run("delete", "limitrange", "small", "-n", NAMESPACE)
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
    with without(kubectl, "secret", "hpecp-ext-auth-secret", "-n", NAMESPACE):
        found = one(catalogue.names(visit))
    assert (found.state, found.found) == (ADVICE, "no secret hpecp-ext-auth-secret")
    with without(kubectl, "serviceaccount", "ecp-tenant-member-sa", "-n", NAMESPACE):
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
    kubectl.run("create", "-n", NAMESPACE, "-f", str(claim))
    try:
        assert one(spark.settings(visit)).state == ADVICE, "no image is named"
        settings["SPARK_CONF_spark_kubernetes_container_image"] = "labs/spark:1.0"
        assert one(spark.settings(visit)).state == OK
        settings["SPARK_CONF_spark_kubernetes_namespace"] = "elsewhere"
        assert "executors in elsewhere" in one(spark.settings(visit)).found
    finally:
        kubectl.run("delete", "-n", NAMESPACE, "-f", str(claim), "--wait=false")
    settings["SPARK_MASTER"] = "yarn"
    assert one(spark.settings(visit)).state == MISSING
    settings["SPARK_MASTER"] = f"spark://127.0.0.1:{ports.choose()}"
    assert one(spark.settings(visit)).found == "Connection refused"
    settings["SPARK_MASTER"] = "local[4]"
    assert one(spark.settings(visit)).state == OK


def test_answer_in_another_form_is_told_as_such(visit: Visit) -> None:
    def odd(visit: Visit) -> Iterator[Finding]:
        raise KeyError("expiry_time")
        yield

    found = one(looks._looked(Look("Odd", "", odd), visit))
    assert found.found == "KeyError: 'expiry_time'"
    assert found.state == MISSING


def test_environment_says_what_the_file_does_not(tmp_path: Path) -> None:
    file = tmp_path / "platform.env"
    file.write_text("EZMERAL_URL=https://here\nEZMERAL_CA=/nowhere/ca.crt\n")
    (tmp_path / "ca.crt").touch()
    told = {"EZMERAL_USER": "ann", "EZMERAL_URL": "https://there", "PATH": os.defpath}
    found = settings_of(file, told)
    assert found["EZMERAL_USER"] == "ann"
    assert found["EZMERAL_URL"] == "https://here"
    assert found["EZMERAL_CA"] == str(tmp_path / "ca.crt")
    assert "PATH" not in found
