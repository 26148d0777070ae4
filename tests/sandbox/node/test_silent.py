"""A node whose agent was killed is NotReady until the agent is back; its pods go on meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from labsandbox.client.resources import NODES, PODS
from tests.sandbox.cluster import Cluster, pod
from tests.sandbox.conftest import ApiServer

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(400)]
SECONDS = 180


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(ApiServer(tmp_path_factory.mktemp("silent")).start())
    try:
        made.start("controllers")
        made.start("node")
        yield made
    finally:
        made.close()


def ready(cluster: Cluster) -> str:
    """Return what the node's condition and its column say."""
    for node in cluster.list(NODES):
        for condition in node["status"].get("conditions") or []:
            if condition["type"] == "Ready":
                return str(condition["status"])
    return ""


def taints(cluster: Cluster) -> list[Any]:
    (node,) = cluster.list(NODES)
    return [taint["key"] for taint in node["spec"].get("taints") or []]


def test_node_whose_agent_was_killed_becomes_not_ready_and_comes_back(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    cluster.until(lambda: ready(cluster) == "True", "the node is ready", 60)
    cluster.create(PODS, pod("steady", "sleep 600"), namespace)
    cluster.running(namespace, "steady")

    cluster.end("node", signal.SIGKILL)
    cluster.until(lambda: ready(cluster) == "Unknown", "the node is NotReady", SECONDS)
    cluster.until(
        lambda: "node.kubernetes.io/unreachable" in taints(cluster), "the node is tainted", 30
    )
    (node,) = cluster.list(NODES)
    name = node["metadata"]["name"]
    cluster.until(
        lambda: "NodeNotReady" in cluster.reasons("default", name), "the event is there", 30
    )
    cluster.create(PODS, pod("late", "sleep 600"), namespace)
    assert cluster.get(PODS, "late", namespace)["spec"].get("nodeName") is None  # type: ignore[index]

    cluster.start("node")
    cluster.until(lambda: ready(cluster) == "True", "the node is back", SECONDS)
    cluster.until(lambda: not taints(cluster), "the taint is gone", 60)
    cluster.running(namespace, "late")
    found = cluster.get(PODS, "steady", namespace)
    assert found is not None
    (status,) = found["status"]["containerStatuses"]
    assert (found["status"]["phase"], status["restartCount"]) == ("Running", 0)
