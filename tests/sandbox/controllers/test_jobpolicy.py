"""Policies of Jobs: failures that matter or do not, and indexes that are enough."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.controllers import job, jobpolicy
from labsandbox.controllers.actions import Create, Delete, Patch

pytestmark = pytest.mark.fast

NOW = 1_795_200_000.0
Object = dict[str, Any]


def make_job(**spec: Any) -> Object:
    template = {"metadata": {}, "spec": {"containers": [{"name": "c"}], "restartPolicy": "Never"}}
    whole = {"parallelism": 3, "completions": 3, "backoffLimit": 6, "template": template, **spec}
    meta = {"name": "j", "namespace": "n", "uid": "j1", "resourceVersion": "1"}
    started = {"startTime": "2026-11-20T17:00:00Z", "uncountedTerminatedPods": {}}
    return {"metadata": meta, "spec": whole, "status": started}


def make_pod(name: str, phase: str, code: int = 0, index: int | None = None, **more: Any) -> Object:
    meta: Object = {
        "name": name,
        "namespace": "n",
        "uid": name,
        "finalizers": [job.TRACKING],
        "ownerReferences": [{"uid": "j1", "controller": True}],
        "creationTimestamp": "2026-11-20T17:00:00Z",
        "annotations": {}
        if index is None
        else {"batch.kubernetes.io/job-completion-index": str(index)},
    }
    ended = {"exitCode": code, "finishedAt": "2026-11-20T17:00:00Z"}
    state = {"terminated": ended} if phase in ("Succeeded", "Failed") else {"running": {}}
    status = {"phase": phase, "containerStatuses": [{"name": "c", "state": state}], **more}
    return {"metadata": meta, "spec": {"nodeName": "x"}, "status": status}


def policy(action: str, **rule: Any) -> Object:
    return {"rules": [{"action": action, **rule}]}


def conditions(actions: list[Any]) -> dict[str, tuple[str, str]]:
    """Return the conditions after all actions: type -> reason, message."""
    found: dict[str, tuple[str, str]] = {}
    for action in actions:
        if isinstance(action, Patch) and action.subresource == "status":
            for one in action.patch["status"].get("conditions") or []:
                found[one["type"]] = (one["reason"], one["message"])
    return found


CODES = {"operator": "In", "values": [42]}


def test_exit_code_that_fails_the_job_ends_it_and_its_pods() -> None:
    failing = make_job(podFailurePolicy=policy("FailJob", onExitCodes=CODES))
    pods = [make_pod("a", "Failed", 42), make_pod("b", "Running")]
    actions = job.reconcile(failing, pods, NOW)
    text = "Container c for pod n/a failed with exit code 42 matching FailJob rule at index 0"
    assert conditions(actions)["FailureTarget"] == ("PodFailurePolicy", text)
    assert [a.name for a in actions if isinstance(a, Delete)] == ["b"]
    assert not any(isinstance(action, Create) for action in actions)


def test_decision_to_fail_stays_after_the_pod_is_counted() -> None:
    failing = make_job(podFailurePolicy=policy("FailJob", onExitCodes=CODES))
    decided = {"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy"}
    failing["status"]["conditions"] = [{**decided, "message": "m"}]
    actions = job.reconcile(failing, [], NOW)
    assert conditions(actions)["Failed"] == ("PodFailurePolicy", "m")


def test_failure_that_is_ignored_does_not_count() -> None:
    rule = [{"type": "DisruptionTarget", "status": "True"}]
    patient = make_job(backoffLimit=0, podFailurePolicy=policy("Ignore", onPodConditions=rule))
    pod = make_pod("a", "Failed", 137, conditions=rule)
    actions = job.reconcile(patient, [pod], NOW)
    assert "FailureTarget" not in conditions(actions)
    assert [a for a in actions if isinstance(a, Patch) and a.name == "a"], "the pod is released"
    pod["status"]["conditions"] = []
    assert "FailureTarget" in conditions(job.reconcile(patient, [pod], NOW))


@pytest.mark.parametrize(
    ("codes", "matches"),
    [
        ({"operator": "In", "values": [1, 2]}, True),
        ({"operator": "In", "values": [3]}, False),
        ({"operator": "NotIn", "values": [3]}, True),
        ({"operator": "NotIn", "values": [2]}, False),
        ({"operator": "In", "values": [2], "containerName": "other"}, False),
    ],
)
def test_exit_codes_match_by_operator_and_container(codes: Object, matches: bool) -> None:
    found = jobpolicy.judge(
        make_job(podFailurePolicy=policy("Count", onExitCodes=codes)), make_pod("a", "Failed", 2)
    )
    assert (found is not None) is matches


def test_success_policy_ends_the_job_before_all_indexes_are_done() -> None:
    leader = {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]}
    indexed = make_job(completionMode="Indexed", successPolicy=leader)
    pods = [make_pod("a", "Succeeded", index=0), make_pod("b", "Running", index=1)]
    actions = job.reconcile(indexed, pods, NOW)
    assert conditions(actions)["SuccessCriteriaMet"] == (
        "SuccessPolicy",
        "Matched rules at index 0",
    )
    assert [a.name for a in actions if isinstance(a, Delete)] == ["b"]
    assert "Complete" not in conditions(actions), "a pod is still there"
    other = [make_pod("b", "Succeeded", index=1)]
    assert conditions(job.reconcile(indexed, other, NOW)) == {}


@pytest.mark.parametrize(
    ("rule", "done", "is_met"),
    [
        ({"succeededCount": 2}, {0, 2}, True),
        ({"succeededCount": 2}, {1}, False),
        ({"succeededIndexes": "0-2"}, {0, 1}, False),
        ({"succeededIndexes": "0-2"}, {0, 1, 2, 3}, True),
        ({"succeededIndexes": "1-3", "succeededCount": 1}, {0}, False),
        ({"succeededIndexes": "1-3", "succeededCount": 1}, {3}, True),
    ],
)
def test_success_rule_counts_the_indexes_it_names(
    rule: Object, done: set[int], is_met: bool
) -> None:
    found = jobpolicy.has_succeeded(make_job(successPolicy={"rules": [rule]}), done)
    assert (found is not None) is is_met


def test_index_that_fails_too_often_is_given_up_and_the_others_go_on() -> None:
    indexed = make_job(
        completionMode="Indexed", backoffLimitPerIndex=0, completions=2, backoffLimit=2**31 - 1
    )
    pods = [make_pod("a", "Failed", 1, index=0), make_pod("b", "Running", index=1)]
    actions = job.reconcile(indexed, pods, NOW)
    statuses = [a.patch["status"] for a in actions if isinstance(a, Patch) and a.subresource]
    assert statuses[-1]["failedIndexes"] == "0"
    assert not any(isinstance(action, Create) for action in actions)
    pods[1] = make_pod("b", "Succeeded", index=1)
    assert conditions(job.reconcile(indexed, pods, NOW))["Failed"] == (
        "FailedIndexes",
        "Job has failed indexes",
    )
    indexed["spec"]["maxFailedIndexes"] = 0
    pods[1] = make_pod("b", "Running", index=1)
    assert conditions(job.reconcile(indexed, pods, NOW))["FailureTarget"][0] == (
        "MaxFailedIndexesExceeded"
    )
