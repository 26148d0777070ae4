"""What the doctor concludes, from answers that no test platform gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from labclass.checkup import catalogue, front, kubeconfig, operator, rights, room, settings, sizes
from labclass.checkup.api import Api
from labclass.checkup.finding import ADVICE, MISSING, OK, Finding
from labclass.checkup.visit import Visit, settings_of
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast


class Canned(Api):
    """An API that gives the same answer to everything."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__("https://platform", None, "tenant")  # type: ignore[arg-type]
        self.answer = status, body

    def call(self, *words: Any, **more: Any) -> tuple[int, dict[str, Any]]:
        return self.answer


def visit(status: int, body: dict[str, Any]) -> Visit:
    found = Visit({})
    found.api = Canned(status, body)
    return found


def one(found: Iterator[Finding]) -> Finding:
    (only,) = list(found)
    return only


@pytest.mark.parametrize(
    ("apart", "state", "words"),
    [
        (0, OK, "they agree"),
        (-20, OK, "20 s behind this machine"),
        (300, MISSING, "300 s ahead of this machine"),
        (-7200, MISSING, "7200 s behind this machine"),
    ],
)
def test_clocks_are_compared(apart: int, state: str, words: str) -> None:
    now = 1_700_000_000.0
    found = front.clock(formatdate(now + apart, usegmt=True), now)
    assert (found.state, words in found.found) == (state, True)
    assert front.clock(None, now).state == ADVICE


@pytest.mark.parametrize(
    ("version", "state"),
    [("v1.29.9", MISSING), ("v1.30.0", OK), ("v1.37.2-gke.1", OK), ("v1.38.0", ADVICE)],
)
def test_version_is_compared_with_what_was_tried(version: str, state: str) -> None:
    assert one(kubeconfig.version(visit(200, {"gitVersion": version}))).state == state


def test_server_without_a_version_is_no_cluster() -> None:
    assert one(kubeconfig.version(visit(404, {}))).state == MISSING


def test_cluster_without_kubedirector_is_found() -> None:
    found = one(operator.kinds(visit(404, {})))
    assert found.found.startswith("no kubedirectorapps")
    assert "Install KubeDirector" in found.cure


def test_webhook_that_cannot_be_tried_is_advice() -> None:
    words = 'admission webhook "x" does not support dry run'
    assert one(operator.judges(visit(400, {"message": words}))).state == ADVICE


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("Invalid app(x). This app resource ID has not been registered.", "catalogue is not in"),
        ("exceeded quota: tenant-quota", "no room"),
        ("serviceAccount ecp-tenant-member-sa not found", "Make the service account"),
        ("something else", "KubeDirector's own"),
    ],
)
def test_refusal_of_the_operator_has_its_cure(words: str, cure: str) -> None:
    found = one(operator.judges(visit(403, {"message": words})))
    assert (found.state, words in found.found, cure in found.cure) == (MISSING, True, True)


def test_shared_cluster_in_trouble_is_quoted() -> None:
    status = {"state": "configured", "memberStateRollup": {"configErrors": True}}
    found = one(catalogue.shared(visit(200, {"status": status})))
    assert (found.state, found.found) == (MISSING, "configured, configErrors")
    found = one(catalogue.shared(visit(200, {})))
    assert found.found == "not seen by KubeDirector"


def test_tenant_without_quota_is_advice() -> None:
    assert one(room.quota(visit(200, {"items": []}))).state == ADVICE


def test_needs_grow_with_the_class() -> None:
    one = sizes.learner()
    pods, memory = sizes.parse(one["pods"]), sizes.parse(one["memory"])
    assert room.needs(12, spark=False)["pods"] == 12 * pods > 0
    assert room.needs(12, spark=True)["pods"] == 12 * (pods + 2)
    assert room.needs(2, spark=False)["limits.cpu"] == 2 * sizes.parse(one["cpu"])
    assert room.needs(1, spark=True)["requests.memory"] == memory + 3 * 2**30


def test_pod_standard_that_is_too_strict_has_its_cure() -> None:
    words = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    found = one(room.admitted(visit(403, {"message": words})))
    assert "enforce=baseline" in found.cure


def test_rights_hold_what_labs_call() -> None:
    verbs = {"read": "get", "replace": "update"}
    known = {(right.verb, right.resource) for right in rights.NEEDED}
    sources = [*(ROOT / "labhelpers").glob("*.py"), *(ROOT / "notebooks/_src/core").glob("*.py")]
    called = {
        (verbs.get(verb, verb), "pods/log" if noun == "pod_log" else f"{noun.replace('_', '')}s")
        for path in sources
        for verb, noun in re.findall(
            r"\b(?:core|apps)\.([a-z]+)_namespaced_([a-z_]+)\(", path.read_text("utf-8")
        )
    }
    assert len(called) > 10
    assert called <= known
    custom = {
        verbs.get(verb, verb)
        for path in sources
        for verb in re.findall(r"\.([a-z]+)_namespaced_custom_object\(", path.read_text("utf-8"))
    }
    assert {(verb, "kubedirectorclusters") for verb in custom} <= known


def test_example_of_a_site_is_known_as_one() -> None:
    file = ROOT / "deploy" / "kubernetes" / "site-example" / "platform.env"
    found = one(settings.complete(Visit(settings_of(file, {"EZMERAL_USER": "ann"}))))
    assert "the example's, platform.site.example" in found.found
