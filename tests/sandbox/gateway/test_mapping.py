"""Which gateway port stands before which service port, decided without a network."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.gateway import mapping
from labsandbox.gateway.mapping import Target

pytestmark = pytest.mark.fast


def service(name: str, *ports: int, label: bool = True, **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team",
            "name": name,
            "creationTimestamp": f"2026-01-01T00:00:{len(name):02}Z",
            "labels": {mapping.LABEL: "true"} if label else {},
            "annotations": annotations,
        },
        "spec": {
            "clusterIP": "10.96.0.9",
            "ports": [{"name": f"http-{port}", "port": port, "protocol": "TCP"} for port in ports],
        },
    }


def anything_goes(port: int) -> bool:
    return True


def test_assign_counts_up_from_the_first_port() -> None:
    assigned = mapping.assign([service("a", 8000, 8081)], {}, anything_goes)
    assert sorted(assigned.values()) == [10001, 10002]


def test_assign_passes_over_ports_that_are_taken() -> None:
    assigned = mapping.assign([service("a", 8000)], {}, lambda port: port > 10003)
    assert list(assigned.values()) == [10004]


def test_assign_keeps_what_is_held() -> None:
    held = {Target("team", "a", 8000, "http-8000"): 10007}
    assigned = mapping.assign([service("a", 8000), service("bb", 80)], held, anything_goes)
    assert assigned[Target("team", "a", 8000, "http-8000")] == 10007
    assert assigned[Target("team", "bb", 80, "http-80")] == 10001


def test_assign_remembers_the_annotation_after_a_restart() -> None:
    remembered = service("a", 8000, **{f"{mapping.PREFIX}8000": "127.0.0.1:10042"})
    assert list(mapping.assign([remembered], {}, anything_goes).values()) == [10042]
    # ... unless somebody else has taken the port since.
    assert list(mapping.assign([remembered], {}, lambda port: port != 10042).values()) == [10001]


def test_assign_never_gives_one_port_twice() -> None:
    remembered = {f"{mapping.PREFIX}8000": "127.0.0.1:10001"}
    both = [service("a", 8000, **remembered), service("bb", 8000, **remembered)]
    assert sorted(mapping.assign(both, {}, anything_goes).values()) == [10001, 10002]


def test_service_without_the_label_or_headless_takes_no_part() -> None:
    headless = service("a", 8000)
    headless["spec"]["clusterIP"] = "None"
    assert mapping.assign([headless, service("bb", 80, label=False)], {}, anything_goes) == {}


def test_annotation_changes_are_empty_when_all_is_well() -> None:
    one = service("a", 8000)
    assigned = mapping.assign([one], {}, anything_goes)
    changes = mapping.annotation_changes(one, assigned, "127.0.0.1")
    assert changes == {f"{mapping.PREFIX}8000": "127.0.0.1:10001"}
    one["metadata"]["annotations"] = changes
    assert mapping.annotation_changes(one, assigned, "127.0.0.1") == {}


def test_annotation_of_a_port_that_is_gone_is_removed() -> None:
    one = service("a", 8000, **{f"{mapping.PREFIX}9": "127.0.0.1:10009"})
    changes = mapping.annotation_changes(one, mapping.assign([one], {}, anything_goes), "127.0.0.1")
    assert changes[f"{mapping.PREFIX}9"] is None


def test_backends_are_the_addresses_of_ready_pods() -> None:
    piece = {
        "ports": [{"name": "http-8000", "port": 8000}],
        "endpoints": [
            {"addresses": ["10.244.0.7"], "conditions": {"ready": True}},
            {"addresses": ["10.42.0.7"]},
            {"addresses": ["10.244.0.8"], "conditions": {"ready": False}},
        ],
    }
    target = Target("team", "a", 80, "http-8000")
    assert mapping.backends([piece], target) == [("10.244.0.7", 8000), ("10.42.0.7", 8000)]
    assert mapping.backends([piece], Target("team", "a", 81, "http-x")) == []


@pytest.mark.parametrize(
    ("name", "terminates"), [("http-nb", True), ("https-nb", True), ("generic-ssh", False)]
)
def test_tls_ends_at_the_gateway_for_web_ports(name: str, terminates: bool) -> None:
    assert Target("team", "a", 80, name).terminates_tls is terminates


@pytest.mark.parametrize(
    "address", ["x:70000", "x:\u00b2", "x:80", "x:-1", "x:", "x:" + "9" * 5000]
)
def test_addresses_that_are_not_ours_are_not_remembered(address: str) -> None:
    odd = service("a", 80, **{f"{mapping.PREFIX}80": address, f"{mapping.PREFIX}\u00b2": "x:10005"})
    assert mapping.recorded(odd) == {}
    assert list(mapping.assign([odd], {}, anything_goes).values()) == [10001]
