"""Autoscalers: the size that follows from what pods use."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from labsandbox.client.resources import DEPLOYMENTS
from labsandbox.controllers import autoscaling
from labsandbox.controllers.actions import Event, Patch, Replace

pytestmark = pytest.mark.fast

NOW = 1_795_200_000.0
Object = dict[str, Any]


def target(replicas: int, request: str | None = "100m") -> autoscaling.Target:
    ready = {"type": "Ready", "status": "True"}
    amounts = {"requests": {"cpu": request}} if request else {}
    pods = [
        {
            "metadata": {"name": f"p{number}", "namespace": "n"},
            "spec": {"containers": [{"name": "c", "resources": amounts}]},
            "status": {"phase": "Running", "conditions": [ready]},
        }
        for number in range(replicas)
    ]
    deployment = {"metadata": {"name": "d", "namespace": "n"}, "spec": {"replicas": replicas}}
    return autoscaling.Target(DEPLOYMENTS, deployment, pods)


def make_hpa(**spec: Any) -> Object:
    goal = {"type": "Utilization", "averageUtilization": 50}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": goal}}
    meta = {"name": "h", "namespace": "n", "uid": "h1", "generation": 1, "resourceVersion": "1"}
    whole = {
        "scaleTargetRef": {"kind": "Deployment", "name": "d"},
        "minReplicas": 1,
        "maxReplicas": 10,
        "metrics": [metric],
        **spec,
    }
    return {"metadata": meta, "spec": whole}


def used(*cores: str) -> autoscaling.Usage:
    return {f"p{number}": {"cpu": Decimal(amount)} for number, amount in enumerate(cores)}


def size(actions: list[Any]) -> int | None:
    for action in actions:
        if isinstance(action, Patch):
            return int(action.patch["spec"]["replicas"])
    return None


def condition(actions: list[Any], kind: str) -> Object:
    status = next(action for action in actions if isinstance(action, Replace)).obj["status"]
    return next(one for one in status["conditions"] if one["type"] == kind)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (used("0.1", "0.1"), 4),  # 100 % of the request where 50 % are wanted
        (used("0.05", "0.05"), None),
        (used("0.054", "0.054"), None),  # within a tenth
        (used("0.01", "0.01"), 1),
        (used("0.5", "0.5"), 4),  # twice as many at a time, or four
    ],
)
def test_size_follows_the_usage(usage: autoscaling.Usage, expected: int | None) -> None:
    assert size(autoscaling.reconcile(make_hpa(), target(2), usage, [], NOW)) == expected


def test_size_stays_within_the_limits_and_says_so() -> None:
    actions = autoscaling.reconcile(make_hpa(maxReplicas=3), target(2), used("0.1", "0.1"), [], NOW)
    assert size(actions) == 3
    assert condition(actions, "ScalingLimited")["reason"] == "TooManyReplicas"
    actions = autoscaling.reconcile(make_hpa(minReplicas=2), target(3), used("0", "0"), [], NOW)
    assert size(actions) == 2
    assert condition(actions, "ScalingLimited")["reason"] == "TooFewReplicas"


def test_size_shrinks_only_to_the_largest_of_the_last_five_minutes() -> None:
    busy = [(NOW - 60, 3), (NOW - 400, 9)]
    assert size(autoscaling.reconcile(make_hpa(), target(4), used("0.01"), busy, NOW)) == 3


def test_window_of_the_autoscaler_replaces_the_five_minutes() -> None:
    busy = [(NOW - 60, 3), (NOW - 400, 9)]
    hpa = make_hpa(behavior={"scaleDown": {"stabilizationWindowSeconds": 30}})
    assert size(autoscaling.reconcile(hpa, target(4), used("0.01"), busy, NOW)) == 1
    hpa = make_hpa(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    assert size(autoscaling.reconcile(hpa, target(4), used("0.01"), [(NOW, 4)], NOW)) == 1


@pytest.mark.parametrize(("replicas", "limit"), [(1, 2), (9, 5)])
def test_limits_are_enforced_also_without_metrics(replicas: int, limit: int) -> None:
    hpa = make_hpa(minReplicas=2, maxReplicas=5)
    actions = autoscaling.reconcile(hpa, target(replicas), None, [], NOW)
    assert size(actions) == limit
    assert condition(actions, "AbleToScale")["reason"] == "SucceededRescale"


@pytest.mark.parametrize(
    ("found", "usage", "kind", "text"),
    [
        (None, None, "AbleToScale", 'Deployment "d" not found'),
        (target(2), None, "ScalingActive", "metrics.k8s.io does not answer"),
        (target(2), {}, "ScalingActive", "no metrics returned"),
        (target(2, None), used("1"), "ScalingActive", "missing request for cpu in container c"),
        (target(0), {}, "ScalingActive", "replica count of the target is zero"),
    ],
)
def test_autoscaler_that_cannot_decide_says_why_and_scales_nothing(
    found: autoscaling.Target | None, usage: autoscaling.Usage | None, kind: str, text: str
) -> None:
    actions = autoscaling.reconcile(make_hpa(), found, usage, [], NOW)
    assert size(actions) is None
    assert condition(actions, kind)["status"] == "False"
    assert text in condition(actions, kind)["message"]
    assert any(isinstance(action, Event) for action in actions)


def test_metric_of_another_type_is_refused_with_a_sentence() -> None:
    actions = autoscaling.reconcile(
        make_hpa(metrics=[{"type": "External"}]), target(2), {}, [], NOW
    )
    message = condition(actions, "ScalingActive")["message"]
    assert "metrics of the type External are not served here, only Resource" in message
