"""`kubectl top` shows what a pod's processes use."""

from __future__ import annotations

from pathlib import Path

import pytest

from labsandbox.bootstrap import METRICS
from labsandbox.client.resources import APISERVICES, PODS
from labsandbox.node import usage
from tests.sandbox.clients.kubectl import Kubectl, versions
from tests.sandbox.cluster import Cluster, pod


@pytest.mark.fast
def test_meter_counts_what_ended_between_two_looks() -> None:
    meter = usage.Meter()
    meter.add({1: (1.0, 0.0), 2: (3.0, 0.0)}, 100, 10.0)
    assert meter.is_new
    meter.add({1: (1.5, 5.0)}, 200, 20.0)  # 2 has ended with 5.0, of which 3.0 were known
    assert not meter.is_new
    assert (meter.cores, meter.memory) == (0.25, 200)
    meter.add({1: (1.5, 5.0)}, 200, 30.0)
    assert meter.cores == 0


@pytest.mark.fast
def test_machine_is_measured() -> None:
    assert usage._machine_seconds() > 0
    assert usage._machine_memory() > 1 << 20


@pytest.mark.sandbox
@pytest.mark.skipif(not versions(), reason="there is no kubectl on this machine")
def test_kubectl_top_shows_pods_and_nodes(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    program = list(versions().values())[-1]
    kubectl = Kubectl(program, cluster.server.kubeconfig, tmp_path, namespace)
    assert "Metrics API not available" in kubectl.fails("top", "pods")
    cluster.create(APISERVICES, METRICS)
    try:
        cluster.create(PODS, pod("busy", "while true; do :; done"), namespace)
        cluster.create(PODS, pod("idle", "sleep 600"), namespace)

        def top() -> dict[str, list[str]]:
            answer = kubectl.run("top", "pods", "--no-headers")
            return {line.split()[0]: line.split()[1:] for line in answer.out.splitlines()}

        found = cluster.until(
            lambda: (rows := top()).get("busy") and rows.get("idle") and rows, "both are shown"
        )
        cpu = {name: int(row[0].removesuffix("m")) for name, row in found.items()}
        assert cpu["busy"] > 50 > cpu["idle"]
        assert all(int(row[1].removesuffix("Mi")) < 100 for row in found.values())
        assert "idle" not in kubectl.ok("top", "pods", "-l", "app=busy")
        assert "c " in kubectl.ok("top", "pod", "busy", "--containers")
        assert "laptop" in kubectl.ok("top", "nodes")
        text = kubectl.fails(
            "get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/no"
        )
        assert f'podmetrics.metrics.k8s.io "{namespace}/no" not found' in text
    finally:
        cluster.delete(APISERVICES, "v1beta1.metrics.k8s.io", None)
    assert "metrics.k8s.io" not in kubectl.ok("api-versions")
