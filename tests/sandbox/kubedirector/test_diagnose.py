"""What `labsandbox doctor` can say about a kdcluster that is stuck."""

from __future__ import annotations

import pytest

from labsandbox.kubedirector.diagnose import check_webhook, diagnose, diagnose_all

from .harness import Platform

pytestmark = pytest.mark.sandbox


def test_failed_member_is_explained(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace, behaviour="--configure fail")
    platform.wait_configured("c", namespace)
    platform.wait(
        lambda: any("failed to run" in event for event in platform.events(namespace, "c")),
        "the failure is an event",
    )
    facts = platform.run(diagnose(platform.client, namespace, "c"))
    assert not facts.is_fine
    assert (facts.state, facts.ready, facts.flags) == ("configured", "0/1", ["configErrors"])
    (member,) = facts.members
    assert member.stderr == "no such library\n"
    assert "exit status {3}" in member.problem
    assert any("no such library" in event.message for event in facts.events)
    assert f"kubectl delete pod -n {namespace} {member.pod}" in facts.hints[0]
    names = [each.name for each in platform.run(diagnose_all(platform.client))]
    assert "c" in names


def test_healthy_cluster_is_fine(platform: Platform, namespace: str) -> None:
    platform.make_cluster("c", namespace)
    platform.wait_configured("c", namespace)
    facts = platform.run(diagnose(platform.client, namespace, "c"))
    assert facts.is_fine
    assert facts.hints == []


def test_pod_that_fits_nowhere_is_explained(platform: Platform, namespace: str) -> None:
    amounts = {"cpu": "5000", "memory": "32Mi"}
    role = {"resources": {"limits": amounts, "requests": amounts}}
    platform.make_cluster("c", namespace, role=role)

    def look() -> bool:
        facts = platform.run(diagnose(platform.client, namespace, "c"))
        return "membersNotScheduled" in facts.flags

    platform.wait(look, "the pod is reported as not scheduled")
    facts = platform.run(diagnose(platform.client, namespace, "c"))
    assert "kubectl describe pod" in facts.hints[0]
    assert facts.members[0].problem


def test_program_that_ends_at_once_is_explained(platform: Platform, namespace: str) -> None:
    platform.make_app(namespace, name="broken", defaultImageRepoTag="test/broken:1.0")
    platform.make_cluster("c", namespace, app="broken")

    def look() -> bool:
        # Between two starts it is said to wait, or to run for a moment.
        facts = platform.run(diagnose(platform.client, namespace, "c"))
        problems = [member.problem for member in facts.members]
        return any("container ended: Error (exit code 9)" in one for one in problems)

    platform.wait(look, "the end of the program is explained")
    assert not platform.run(diagnose(platform.client, namespace, "c")).is_fine


def test_webhook_is_tried(platform: Platform) -> None:
    facts = platform.run(check_webhook(platform.client))
    assert facts.is_reachable
    platform.kill_operator()
    try:
        facts = platform.run(check_webhook(platform.client))
        assert not facts.is_reachable
        assert "does not answer" in facts.detail
    finally:
        platform.start_operator()
