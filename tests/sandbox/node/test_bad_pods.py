"""Pods that are too much for a node wait with a sentence, and the others run."""

from __future__ import annotations

import pytest

from labsandbox.client.resources import PODS
from tests.sandbox.cluster import Cluster, pod

pytestmark = pytest.mark.sandbox


def doubling(name: str) -> dict[str, object]:
    """Return a pod whose environment would be 2 GB."""
    env = [{"name": "A0", "value": "x" * 32}]
    env += [{"name": f"A{i}", "value": f"$(A{i - 1})$(A{i - 1})"} for i in range(1, 27)]
    return pod(name, "sleep 60", env=env)


def test_environment_that_doubles_waits_with_a_sentence(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, doubling("bad"), namespace)
    found = cluster.container(
        namespace,
        "bad",
        lambda c: c["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError",
    )
    assert "larger than 1 MB" in found["state"]["waiting"]["message"]
    cluster.create(PODS, pod("good", "sleep 60"), namespace)
    cluster.running(namespace, "good")
    cluster.delete(PODS, "bad", namespace)
    cluster.gone(PODS, "bad", namespace)


def test_pod_with_too_many_containers_is_not_begun(cluster: Cluster, namespace: str) -> None:
    made = pod("bad", "sleep 60")
    one = made["spec"]["containers"][0]
    made["spec"]["containers"] = [{**one, "name": f"c{i}"} for i in range(100)]
    cluster.create(PODS, made, namespace)
    text = "expected at most 64 entries in spec.containers on this platform; found 100"
    cluster.until(
        lambda: any(text in message for message in cluster.messages(namespace, "bad")),
        "the scheduler says so",
    )
    bound = {"metadata": {"name": "bound"}, "spec": {**made["spec"], "nodeName": "laptop"}}
    cluster.create(PODS, bound, namespace)
    found = cluster.container(
        namespace,
        "bound",
        lambda c: c["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError",
    )
    assert text in found["state"]["waiting"]["message"]
    cluster.delete(PODS, "bound", namespace)
    cluster.gone(PODS, "bound", namespace)
