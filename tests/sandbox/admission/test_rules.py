"""Admission's decisions that need no server: limits, usage, standards, selectors, reviews."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from labsandbox.apiserver.admission.limits import _complete, _pod_problems
from labsandbox.apiserver.admission.review import BadAnswer, read
from labsandbox.apiserver.admission.security import Level, violations
from labsandbox.apiserver.admission.selector import selects
from labsandbox.apiserver.admission.usage import missing_requests, usage_of
from labsandbox.apiserver.registry import Catalog

pytestmark = pytest.mark.fast


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod with these containers."""
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


def requesting(**requests: str) -> dict[str, Any]:
    """A container that asks for something."""
    return {"name": "c", "image": "i", "resources": {"requests": requests}}


def test_usage_of_a_pod_adds_containers_and_compares_init_containers() -> None:
    found = usage_of(
        Catalog().find("", "v1", "pods"),
        pod(
            requesting(cpu="1", memory="1Gi"),
            requesting(cpu="500m"),
            initContainers=[requesting(cpu="2")],
        ),
    )
    assert str(found["requests.cpu"]) == "2"
    assert str(found["cpu"]) == "2"
    assert str(found["requests.memory"]) == "1Gi"
    assert str(found["pods"]) == str(found["count/pods"]) == "1"


def test_usage_of_an_ended_pod_is_only_its_count() -> None:
    ended = pod(requesting(cpu="1")) | {"status": {"phase": "Succeeded"}}
    assert set(usage_of(Catalog().find("", "v1", "pods"), ended)) == {"pods", "count/pods"}


def test_usage_names_containers_without_requests() -> None:
    found = missing_requests(pod({"name": "a"}, {"name": "b"}), ["requests.cpu", "pods"])
    assert found == "requests.cpu for: a,b"


def test_usage_of_services_counts_their_ports() -> None:
    service = {"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}}
    found = usage_of(Catalog().find("", "v1", "services"), service)
    assert str(found["services.nodeports"]) == "2"
    assert str(found["services.loadbalancers"]) == "1"


LIMITS = {
    "spec": {
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": "500m"},
                "defaultRequest": {"cpu": "100m"},
                "max": {"cpu": "1"},
                "min": {"cpu": "50m"},
                "maxLimitRequestRatio": {"cpu": "4"},
            },
            {"type": "Pod", "max": {"cpu": "2"}},
        ]
    }
}


def test_limits_fill_in_defaults_and_say_so() -> None:
    found = pod({"name": "c"})
    _complete(found, LIMITS)
    assert found["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m"},
        "limits": {"cpu": "500m"},
    }
    assert found["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    )


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        ({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}, "is 1, but limit is 2"),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "10m"}}, "is 50m, but request is 10m"),
        ({"requests": {"cpu": "1"}}, "maximum cpu usage per Container is 1.  No limit is"),
        ({"limits": {"cpu": "1"}}, "minimum cpu usage per Container is 50m.  No request is"),
        (
            {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}},
            "ratio per Container is 4, but provided ratio is 10.000000",
        ),
    ],
)
def test_limits_refuse_with_the_reason(resources: dict[str, Any], problem: str) -> None:
    found = list(_pod_problems(pod({"name": "c", "resources": resources}), LIMITS))
    assert any(problem in one for one in found), found


def test_limits_of_a_pod_count_all_containers() -> None:
    one = {"name": "c", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}}
    found = list(_pod_problems(pod(one, one, one), LIMITS))
    assert "maximum cpu usage per Pod is 2, but limit is 3" in found


def _reasons(level: str, spec: dict[str, Any]) -> set[str]:
    return {one.reason for one in violations(Level(level, "latest"), {}, spec)}


GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_security_restricted_pod_breaks_no_rule() -> None:
    spec = pod({"name": "c", "securityContext": GOOD})["spec"]
    assert _reasons("restricted", spec) == set()
    assert _reasons("baseline", pod({"name": "c"})["spec"]) == set()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"hostNetwork": True}, "host namespaces"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "hostPath volumes"),
        ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, "privileged"),
        ({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}, "hostPort"),
        (
            {
                "containers": [
                    {"name": "c", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}
                ]
            },
            "non-default capabilities",
        ),
        ({"securityContext": {"sysctls": [{"name": "kernel.x"}]}}, "forbidden sysctls"),
        (
            {"securityContext": {"seLinuxOptions": {"user": "u"}}},
            "seLinuxOptions",
        ),
    ],
)
def test_security_baseline_forbids(spec: dict[str, Any], reason: str) -> None:
    assert _reasons("baseline", spec) == {reason}
    assert _reasons("privileged", spec) == set()


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({"runAsUser": 0}, "runAsUser=0"),
        ({"allowPrivilegeEscalation": None}, "allowPrivilegeEscalation != false"),
        ({"capabilities": {}}, "unrestricted capabilities"),
        ({"runAsNonRoot": None}, "runAsNonRoot != true"),
        ({"seccompProfile": None}, "seccompProfile"),
    ],
)
def test_security_restricted_demands(context: dict[str, Any], reason: str) -> None:
    spec = pod({"name": "c", "securityContext": {**GOOD, **context}})["spec"]
    assert _reasons("restricted", spec) == {reason}


@pytest.mark.parametrize(
    ("selector", "is_selected"),
    [
        (None, True),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Nonsense"}]}, False),
    ],
)
def test_selector_selects(selector: dict[str, Any] | None, is_selected: bool) -> None:
    assert selects(selector, {"a": "1"}) is is_selected


def answer(**response: Any) -> dict[str, Any]:
    """An AdmissionReview with this response."""
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def test_review_reads_verdict_patch_and_warnings() -> None:
    patch = [{"op": "add", "path": "/a", "value": 1}]
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    found = read(
        answer(uid="u", allowed=True, patch=encoded, patchType="JSONPatch", warnings=["w"]),
        "u",
        may_patch=True,
    )
    assert (found.is_allowed, found.patch, found.warnings) == (True, patch, ["w"])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "json parse error"),
        ({"kind": "Pod", "apiVersion": "v1"}, "got v1, Kind=Pod"),
        (answer() | {"response": None}, "webhook response was absent"),
        (answer(uid="x", allowed=True), 'expected response.uid="u", got "x"'),
        (answer(uid="u", allowed=True, patch="e30="), "but not response.patchType"),
        (answer(uid="u", allowed=True, patchType="JSONPatch"), "but not response.patch"),
        (answer(uid="u", allowed=True, patch="***", patchType="JSONPatch"), "decoding JSON patch"),
        (answer(uid="u", allowed=True, patch="e30=", patchType="JSONPatch"), "list of operations"),
    ],
)
def test_review_refuses_broken_answers(body: Any, problem: str) -> None:
    with pytest.raises(BadAnswer, match=problem):
        read(body, "u", may_patch=True)
