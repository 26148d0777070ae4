"""Which node a pod gets, and the texts when it gets none."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.node import scheduler

from .samples import make_pod

pytestmark = pytest.mark.fast


def node(name: str = "laptop", **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": "2", "memory": "4Gi", "pods": "3"}
    return {
        "metadata": {"name": name, "labels": {"disk": "ssd"}},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def asking(name: str = "p", on: str | None = None, **requests: str) -> dict[str, Any]:
    pod = make_pod(name, {"name": "c", "resources": {"requests": requests}})
    if on:
        pod["spec"]["nodeName"] = on
    return pod


def test_choose_takes_the_emptier_node() -> None:
    busy = asking("a", "n1", cpu="1")
    assert scheduler.choose(asking(cpu="500m"), [node("n1"), node("n2")], [busy]).node == "n2"


def test_choose_names_what_is_short() -> None:
    fit = scheduler.choose(
        asking(cpu="1500m", memory="5Gi"), [node()], [asking("a", "laptop", cpu="1")]
    )
    assert fit.node is None
    assert fit.message == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/1 nodes "
        "are available: 1 No preemption victims found for incoming pod."
    )


def test_choose_ignores_ended_pods() -> None:
    done = asking("a", "laptop", cpu="2")
    done["status"] = {"phase": "Succeeded"}
    assert scheduler.choose(asking(cpu="2"), [node()], [done]).node == "laptop"


def test_choose_counts_pods() -> None:
    placed = [asking(f"p{n}", "laptop") for n in range(3)]
    assert "1 Too many pods" in scheduler.choose(asking(), [node()], placed).message


@pytest.mark.parametrize(
    ("pod", "spec", "text"),
    [
        ({"nodeSelector": {"disk": "hdd"}}, {}, "didn't match Pod's node affinity/selector"),
        ({}, {"unschedulable": True}, "node(s) were unschedulable"),
        (
            {},
            {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
            "untolerated taint {k: v}",
        ),
    ],
)
def test_choose_says_why_no_node_suits(pod: Any, spec: Any, text: str) -> None:
    wanted = make_pod("p", **pod)
    assert text in scheduler.choose(wanted, [node(**spec)], []).message


def test_choose_honours_tolerations_and_names() -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    tolerated = make_pod("p", tolerations=[{"key": "k", "operator": "Exists"}])
    assert scheduler.choose(tolerated, [node(taints=[taint])], []).node == "laptop"
    field = {"key": "metadata.name", "operator": "In", "values": ["n2"]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    pinned = make_pod("p", affinity=affinity)
    assert scheduler.choose(pinned, [node("n1"), node("n2")], []).node == "n2"


def test_choose_without_nodes() -> None:
    assert scheduler.choose(asking(), [], []).message == "no nodes available to schedule pods"


def test_requests_take_the_larger_of_init_and_main() -> None:
    pod = asking(cpu="500m")
    pod["spec"]["initContainers"] = [{"name": "i", "resources": {"requests": {"cpu": "1"}}}]
    assert scheduler.requests(pod)["cpu"] == 1
