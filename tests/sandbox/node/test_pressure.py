"""The node's conditions are measured, and a node under pressure takes no pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labsandbox.client.resources import NODES, PODS
from labsandbox.node import pressure, registration, scheduler
from labsandbox.node.pressure import Signals, ThresholdError, judge
from tests.sandbox.cluster import Cluster, pod
from tests.sandbox.conftest import ApiServer

PLENTY = {
    "memory.available": 1 << 33,
    "nodefs.available": 1 << 40,
    "nodefs.inodesFree": 10**6,
    "pid.available": 30_000,
}
CAPACITY = {**PLENTY, "memory.available": 1 << 34}


def statuses(available: dict[str, int], **thresholds: str) -> dict[str, str]:
    found = judge(Signals({**PLENTY, **available}, CAPACITY), thresholds)
    return {one.kind: one.status for one in found}


@pytest.mark.fast
def test_plenty_of_everything_is_no_pressure() -> None:
    assert set(statuses({}).values()) == {"False"}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("signal", "value", "kind"),
    [
        ("memory.available", 99 << 20, "MemoryPressure"),
        ("nodefs.available", 150 << 20, "DiskPressure"),
        ("nodefs.inodesFree", 9_000, "DiskPressure"),
        ("pid.available", 100, "PIDPressure"),
    ],
)
def test_each_signal_below_its_threshold_is_pressure(signal: str, value: int, kind: str) -> None:
    found = statuses({signal: value})
    assert [name for name, status in found.items() if status == "True"] == [kind]
    one = next(c for c in judge(Signals({**PLENTY, signal: value}, CAPACITY), {}) if c.kind == kind)
    assert signal in one.message
    assert one.event.startswith("NodeHas")


@pytest.mark.fast
def test_file_system_without_inodes_is_no_pressure() -> None:
    signals = Signals({**PLENTY, "nodefs.inodesFree": 0}, {**CAPACITY, "nodefs.inodesFree": 0})
    assert {one.status for one in judge(signals, {})} == {"False"}


@pytest.mark.fast
def test_measure_is_the_machines(tmp_path: Path) -> None:
    found = pressure.measure(tmp_path)
    assert found.capacity["memory.available"] == psutil.virtual_memory().total
    assert 0 < found.available["memory.available"] < found.capacity["memory.available"]
    assert found.capacity["nodefs.available"] == psutil.disk_usage(str(tmp_path)).total
    assert 0 < found.available["pid.available"] < found.capacity["pid.available"]


@pytest.mark.fast
def test_threshold_that_cannot_be_read_names_the_signals() -> None:
    with pytest.raises(ThresholdError, match=r"one of memory\.available, .*found 'disk<1Gi'"):
        pressure.read_thresholds("disk<1Gi")


@pytest.mark.fast
def test_transition_time_is_kept_as_long_as_a_status_lasts() -> None:
    calm = judge(Signals(PLENTY, CAPACITY), {})
    first = registration.conditions("2026-01-01T00:00:00Z", [], True, calm)
    again = registration.conditions("2026-01-02T00:00:00Z", first, True, calm)
    assert {c["lastTransitionTime"] for c in again} == {"2026-01-01T00:00:00Z"}
    worse = judge(Signals({**PLENTY, "pid.available": 1}, CAPACITY), {})
    later = registration.conditions("2026-01-03T00:00:00Z", again, True, worse)
    changed = [c["type"] for c in later if c["lastTransitionTime"] == "2026-01-03T00:00:00Z"]
    assert changed == ["PIDPressure"]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("kind", "requests", "fits"),
    [
        ("DiskPressure", {"cpu": "1"}, False),
        ("PIDPressure", {"cpu": "1"}, False),
        ("MemoryPressure", {"cpu": "1"}, True),
        ("MemoryPressure", {}, False),
    ],
)
def test_scheduler_avoids_a_node_under_pressure(
    kind: str, requests: dict[str, str], fits: bool
) -> None:
    status = {
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": kind, "status": "True"}],
    }
    node: dict[str, Any] = {"metadata": {"name": "n"}, "spec": {}, "status": status}
    made = pod("p", "true", resources={"requests": requests})
    fit = scheduler.choose(made, [node], [])
    assert (fit.node == "n") is fits
    if not fits:
        assert "-pressure" in fit.message


@pytest.fixture
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose disk is full, as its threshold says."""
    made = Cluster(ApiServer(tmp_path_factory.mktemp("full")).start())
    try:
        made.start("controllers")
        made.start("node", "--eviction-hard", "nodefs.available<1000Ei")
        yield made
    finally:
        made.close()


@pytest.mark.sandbox
def test_node_without_room_says_so_and_takes_no_pods(full: Cluster) -> None:
    def look() -> dict[str, str]:
        node = full.get(NODES, "laptop") or {}
        found = node.get("status", {}).get("conditions") or []
        return {c["type"]: c["status"] for c in found}

    full.until(lambda: look().get("DiskPressure") == "True", "the node is under disk pressure")
    assert look()["MemoryPressure"] == "False"
    namespace = full.namespace()
    full.create(PODS, pod("p", "sleep 60"), namespace)
    full.until(
        lambda: any("disk-pressure" in text for text in full.messages(namespace, "p")),
        "the pod waits for a node with room",
    )
    full.until(
        lambda: "NodeHasDiskPressure" in full.reasons("default", "laptop"), "an event says so"
    )
