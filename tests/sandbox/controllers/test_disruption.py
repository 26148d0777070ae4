"""Disruption budgets, nodes that are silent, replication controllers, and who scales what."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.client.resources import REPLICATIONCONTROLLERS
from labsandbox.controllers import disruption, heartbeat, replicaset
from labsandbox.controllers.actions import Create, Event, Patch, Replace

pytestmark = pytest.mark.fast

NOW = 1_795_200_000.0
Object = dict[str, Any]


def pod(name: str, is_ready: bool = True, owner: str | None = "rs", **meta: Any) -> Object:
    owners = [{"uid": owner, "kind": "ReplicaSet", "name": owner, "controller": True}]
    head = {"name": name, "namespace": "n", "uid": name, "labels": {"app": "a"}, **meta}
    if owner:
        head["ownerReferences"] = owners
    ready = {"type": "Ready", "status": "True" if is_ready else "False"}
    return {
        "metadata": {"resourceVersion": "5", **head},
        "spec": {},
        "status": {"phase": "Running", "conditions": [ready]},
    }


def budget(**spec: Any) -> Object:
    meta = {"name": "b", "namespace": "n", "uid": "b1", "generation": 2, "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"selector": {"matchLabels": {"app": "a"}}, **spec}}


def status_of(pdb: Object, pods: list[Object], replicas: int | None = 4) -> Object:
    scale = None if replicas is None else ("deployment", replicas)
    actions = disruption.reconcile(pdb, pods, lambda owner: scale, NOW)
    (written,) = [action for action in actions if isinstance(action, Replace)]
    found: Object = written.obj["status"]
    return found


@pytest.mark.parametrize(
    ("spec", "ready", "expected"),
    [
        ({"minAvailable": 2}, 3, (3, 2, 3, 1)),
        ({"minAvailable": 3}, 3, (3, 3, 3, 0)),
        ({"minAvailable": "50%"}, 3, (3, 2, 4, 1)),
        ({"maxUnavailable": 1}, 4, (4, 3, 4, 1)),
        ({"maxUnavailable": "26%"}, 4, (4, 2, 4, 2)),
        ({"maxUnavailable": 0}, 4, (4, 4, 4, 0)),
    ],
)
def test_budget_counts_what_may_be_evicted(
    spec: Object, ready: int, expected: tuple[int, int, int, int]
) -> None:
    status = status_of(budget(**spec), [pod(f"p{number}") for number in range(ready)])
    fields = ("currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed")
    assert tuple(status[field] for field in fields) == expected
    (condition,) = status["conditions"]
    assert condition["reason"] == ("SufficientPods" if expected[3] else "InsufficientPods")
    assert (condition["observedGeneration"], status["observedGeneration"]) == (2, 2)


def test_budget_does_not_count_pods_that_are_unready_or_leaving() -> None:
    pods = [pod("a"), pod("b", is_ready=False), pod("c", deletionTimestamp="2026-11-20T17:00:00Z")]
    assert status_of(budget(minAvailable=1), pods)["currentHealthy"] == 1


def test_pod_whose_eviction_was_allowed_counts_no_more_for_two_minutes() -> None:
    pdb = budget(minAvailable=1)
    for since, healthy in (("2026-11-20T17:59:00Z", 1), ("2026-11-20T17:00:00Z", 2)):
        now = disruption.objects.moment("2026-11-20T18:00:00Z")
        pdb["status"] = {"disruptedPods": {"a": since}}
        actions = disruption.reconcile(pdb, [pod("a"), pod("b")], lambda owner: None, now)
        (written,) = [action for action in actions if isinstance(action, Replace)]
        assert written.obj["status"]["currentHealthy"] == healthy


def test_budget_over_pods_that_nothing_scales_allows_none_and_says_why() -> None:
    actions = disruption.reconcile(budget(maxUnavailable=1), [pod("a")], lambda owner: None, NOW)
    told = next(action for action in actions if isinstance(action, Event))
    assert told.reason == "CalculateExpectedPodCountFailed"
    status = next(action for action in actions if isinstance(action, Replace)).obj["status"]
    assert (status["disruptionsAllowed"], status["conditions"][0]["reason"]) == (0, "SyncFailed")


def make_node(**status: Any) -> Object:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-20T17:00:00Z"}
    meta = {"name": "laptop", "uid": "n1", "resourceVersion": "1"}
    return {"metadata": meta, "spec": {}, "status": {"conditions": [ready], **status}}


def test_node_that_is_silent_becomes_unknown_and_takes_no_new_pods() -> None:
    (status, taint) = heartbeat.reconcile(make_node(), NOW - 41, NOW)
    assert isinstance(status, Patch)
    assert isinstance(taint, Patch)
    found = {c["type"]: c["status"] for c in status.patch["status"]["conditions"]}
    assert found["Ready"] == "Unknown"
    assert [event.reason for event in status.on_success] == ["NodeNotReady"]
    (made,) = taint.patch["spec"]["taints"]
    assert (made["key"], made["effect"]) == ("node.kubernetes.io/unreachable", "NoSchedule")


def test_node_that_is_heard_of_is_left_alone_and_looked_at_again() -> None:
    assert [type(action).__name__ for action in heartbeat.reconcile(make_node(), NOW - 5, NOW)] == [
        "Again"
    ]


def test_node_that_is_back_loses_the_taints_of_its_absence_and_no_others() -> None:
    node = make_node()
    mine = {"key": "mine", "effect": "NoSchedule"}
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/unreachable"}, mine]
    patch = heartbeat.reconcile(node, NOW - 5, NOW)[0]
    assert isinstance(patch, Patch)
    assert patch.patch["spec"]["taints"] == [mine]


def controller(replicas: int) -> Object:
    meta = {"name": "rc", "namespace": "n", "uid": "rc1", "resourceVersion": "1"}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}
    return {
        "metadata": meta,
        "spec": {"replicas": replicas, "selector": {"app": "a"}, "template": template},
    }


def test_replication_controller_makes_its_pods() -> None:
    actions = replicaset.reconcile(controller(2), [], NOW, REPLICATIONCONTROLLERS)
    made = [action.obj for action in actions if isinstance(action, Create)]
    assert len(made) == 2
    (owner,) = made[0]["metadata"]["ownerReferences"]
    assert (owner["apiVersion"], owner["kind"]) == ("v1", "ReplicationController")


def test_pods_that_match_are_adopted_and_pods_that_do_not_are_released() -> None:
    stray = pod("stray", owner=None)
    foreign = pod("foreign", owner="somebody")
    renamed = pod("renamed", owner="rc1", labels={"app": "other"})
    actions = replicaset.reconcile(
        controller(1), [stray, foreign, renamed], NOW, REPLICATIONCONTROLLERS
    )
    owners = {
        action.name: action.patch["metadata"]["ownerReferences"]
        for action in actions
        if isinstance(action, Patch)
    }
    assert [reference["uid"] for reference in owners["stray"]] == ["rc1"]
    assert owners["renamed"] is None
    assert "foreign" not in owners
    assert not any(isinstance(action, Create) for action in actions), "the adopted one is enough"
