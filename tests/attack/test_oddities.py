"""One odd object never stops a loop that serves others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from labsandbox.client import ApiError
from labsandbox.client.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    NAMESPACES,
    PODS,
    RESOURCEQUOTAS,
    SERVICES,
)
from tests.attack import oddities
from tests.sandbox.cluster import Cluster, pod
from tests.sandbox.conftest import ROOT, ApiServer

SEED = int(os.environ.get("ATTACK_SEED", "1"))
AT_ONCE = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(ApiServer(tmp_path_factory.mktemp("oddities")).start())
    try:
        made.start("controllers")
        made.start("node", "--allocatable", "cpu=64", "--allocatable", "memory=64Gi")
        _start_gateway(made)
        yield made
    finally:
        made.close()


def _start_gateway(cluster: Cluster) -> None:
    words = [sys.executable, "-m", "labsandbox.gateway", "--ca", str(cluster.state / "pki")]
    words += ["--kubeconfig", str(cluster.state / "kubeconfigs" / "gateway.conf")]
    with (cluster.state / "gateway.log").open("ab") as log:
        cluster.programs["gateway"] = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log)


async def _feed(cluster: Cluster, namespace: str, count: int) -> Counter[str]:
    """Create odd objects; return how many of each kind the server took."""
    taken: Counter[str] = Counter()
    rows = iter(list(oddities.make(count, SEED)))

    async def work() -> None:
        for resource, obj in rows:
            try:
                await cluster.client.create(resource, obj, namespace)
            except ApiError as error:
                if error.status not in (403, 409, 422):
                    raise
                continue
            taken[resource.plural] += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return taken


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(200, marks=pytest.mark.sandbox),
        pytest.param(1000, marks=pytest.mark.nightly),
    ],
)
def test_loops_serve_a_good_object_after_many_odd_ones(cluster: Cluster, count: int) -> None:
    odd = cluster.namespace("odd")
    taken = cluster.run(_feed(cluster, odd, count))
    assert sum(taken.values()) > count / 2
    assert min(taken[kind] for kind in ("services", "pods", "jobs", "cronjobs", "deployments")) > 0

    good = cluster.namespace("good")
    _check_gateway(cluster, good)
    _check_controllers(cluster, good)
    _check_scheduler(cluster, good)
    for name, program in cluster.programs.items():
        assert program.poll() is None, f"{name} ended:\n{cluster.log_of(name)[-3000:]}"


def _check_gateway(cluster: Cluster, namespace: str) -> None:
    labels = {oddities.GATEWAY: "true"}
    spec = {"ports": [{"port": 80, "name": "http-web"}], "selector": {"app": "good"}}
    cluster.create(
        SERVICES, {"metadata": {"name": "good", "labels": labels}, "spec": spec}, namespace
    )

    def look() -> Any:
        found = cluster.get(SERVICES, "good", namespace) or {"metadata": {}}
        notes = found["metadata"].get("annotations") or {}
        return notes.get("hpecp-internal-gateway/80")

    port = int(cluster.until(look, "the gateway serves the good service").rpartition(":")[2])
    assert 10001 <= port <= 19999


def _check_controllers(cluster: Cluster, namespace: str) -> None:
    container = {"name": "c", "image": "busybox:1.36", "command": ["sleep", "600"]}
    template = {"metadata": {"labels": {"app": "good"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "good"}}, "template": template}
    deployment = cluster.create(
        DEPLOYMENTS, {"metadata": {"name": "good"}, "spec": spec}, namespace
    )
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "good",
        "uid": deployment["metadata"]["uid"],
    }
    owned = {"metadata": {"name": "owned", "ownerReferences": [owner]}}
    cluster.create(CONFIGMAPS, owned, namespace)
    quota = {"metadata": {"name": "good"}, "spec": {"hard": {"configmaps": "100"}}}
    cluster.create(RESOURCEQUOTAS, quota, namespace)

    def pods() -> Any:
        return [p for p in cluster.list(PODS, namespace) if p["spec"].get("nodeName")]

    def counted() -> Any:
        found = cluster.get(RESOURCEQUOTAS, "good", namespace) or {}
        return ((found.get("status") or {}).get("used") or {}).get("configmaps")

    def endpoints() -> Any:
        slices = cluster.list(ENDPOINTSLICES, namespace)
        return [s for s in slices if any(e.get("addresses") for e in s.get("endpoints") or [])]

    cluster.until(pods, "the good deployment has a pod on a node", 60)
    cluster.until(counted, "the good quota is counted", 60)
    cluster.until(endpoints, "the good service has an endpoint", 60)
    cluster.delete(DEPLOYMENTS, "good", namespace)
    cluster.gone(CONFIGMAPS, "owned", namespace)


def _check_scheduler(cluster: Cluster, namespace: str) -> None:
    cluster.create(PODS, pod("good", "sleep 600"), namespace)
    cluster.running(namespace, "good")
    cluster.delete(NAMESPACES, namespace, None)
    cluster.gone(PODS, "good", namespace)
