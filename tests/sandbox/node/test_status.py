"""A pod's status from its record."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.node import restart, status
from labsandbox.node.records import Ending, PodRecord, Record

from .samples import make_pod

pytestmark = pytest.mark.fast

NOW = 1_800_000_000.0


def ended(code: int, name: str = "c", kind: str = "container") -> Record:
    record = Record(name, kind, image="busybox")
    record.attempt = 0
    record.run(1, 1, NOW - 5)
    record.end(Ending(code, "Completed" if code == 0 else "Error", NOW - 5, NOW - 1))
    return record


def running(name: str = "c", ready: bool = True) -> Record:
    record = Record(name, image="busybox")
    record.attempt = 0
    record.run(1, 1, NOW - 5)
    record.is_started, record.is_ready = True, ready
    return record


def looping() -> Record:
    record = ended(1)
    record.wait("CrashLoopBackOff", "back-off 10s")
    return record


def pulling() -> Record:
    record = Record("c", image="x")
    record.wait("ImagePullBackOff", "Back-off")
    return record


def compute(*records: Record, policy: str = "Always", **spec: Any) -> dict[str, Any]:
    pod = make_pod("p", *({"name": r.name} for r in records if r.kind == "container"), **spec)
    pod["spec"]["restartPolicy"] = policy
    record = PodRecord("uid", "t", "p", "10.244.0.2", NOW - 10, {r.name: r for r in records})
    return status.compute(pod, record, NOW)


@pytest.mark.parametrize(
    ("records", "policy", "phase"),
    [
        ([running()], "Always", "Running"),
        ([running(ready=False)], "Always", "Running"),
        ([pulling()], "Always", "Pending"),
        ([looping()], "Always", "Running"),
        ([ended(0)], "Never", "Succeeded"),
        ([ended(0)], "Always", "Running"),
        ([ended(3)], "Never", "Failed"),
        ([ended(3)], "OnFailure", "Running"),
        ([ended(0), running("d")], "Never", "Running"),
        ([ended(0), ended(1, "d")], "Never", "Failed"),
    ],
)
def test_compute_phase(records: list[Record], policy: str, phase: str) -> None:
    assert compute(*records, policy=policy)["phase"] == phase


def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str | None, str | None]]:
    return {
        c["type"]: (c["status"], c.get("reason"), c.get("message")) for c in found["conditions"]
    }


def test_compute_conditions_name_the_unready_container() -> None:
    found = conditions(compute(running(), running("d", ready=False)))
    text = "containers with unready status: [d]"
    assert found["Ready"] == ("False", "ContainersNotReady", text)
    assert found["Initialized"][0] == "True"


def test_compute_conditions_of_a_completed_pod() -> None:
    found = conditions(compute(ended(0), policy="Never"))
    assert found["Ready"] == ("False", "PodCompleted", None)


def test_compute_waits_for_init_containers() -> None:
    init = [{"name": "i", "image": "busybox"}]
    main = Record("c", image="busybox")
    main.wait("PodInitializing")
    found = compute(ended(1, "i", "init"), main, initContainers=init)
    assert found["phase"] == "Pending"
    text = "containers with incomplete status: [i]"
    assert conditions(found)["Initialized"] == ("False", "ContainersNotInitialized", text)
    failed = compute(ended(1, "i", "init"), main, initContainers=init, policy="Never")
    assert failed["phase"] == "Failed"


def test_compute_shows_last_state_of_a_crash_loop() -> None:
    container = compute(looping())["containerStatuses"][0]
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container["lastState"]["terminated"]["exitCode"] == 1


def test_compute_keeps_the_time_of_an_unchanged_condition() -> None:
    pod = make_pod()
    record = PodRecord("uid", "t", "p", "10.244.0.2", NOW - 10, {"c": running()})
    pod["status"] = status.compute(pod, record, NOW)
    later = status.compute(pod, record, NOW + 60)
    assert later["conditions"] == pod["status"]["conditions"]


def test_backoff_is_immediate_then_doubles_and_is_forgiven() -> None:
    record = ended(1)
    waits = []
    for _ in range(7):
        waits.append(restart.delay(record, NOW - 1))
        record.backoff = restart.next_backoff(record)
    assert waits == [0, 10, 20, 40, 80, 160, 300]
    assert record.ending is not None
    record.ending.started = NOW - 700
    assert restart.current_backoff(record) == 0


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 2, True), ("Never", 2, False)],
)
def test_should_restart_follows_the_policy(policy: str, code: int, again: bool) -> None:
    assert restart.should_restart(policy, code) is again


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s")])
def test_write_duration_as_go_does(seconds: float, text: str) -> None:
    assert restart.write_duration(seconds) == text
