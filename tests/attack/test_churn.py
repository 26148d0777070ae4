"""Objects that come and go leave neither memory nor descriptors behind."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

import psutil
import pytest

from labsandbox.client import ApiError
from labsandbox.client.resources import CONFIGMAPS, DEPLOYMENTS, SERVICES
from tests.sandbox.cluster import Cluster
from tests.sandbox.conftest import ApiServer

ROUND = 25
MORE_MEMORY = 40 * 1024 * 1024
MORE_DESCRIPTORS = 20


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    little = ("--watch-cache-megabytes", "1")  # a past that is full before the sizes are taken
    made = Cluster(ApiServer(tmp_path_factory.mktemp("churn"), little).start())
    try:
        made.start("controllers")
        yield made
    finally:
        made.close()


async def _churn(cluster: Cluster, namespace: str, number: int) -> None:
    """Create, change, list and delete one set of objects, some in a way that is refused."""
    client = cluster.client
    names = [f"n{number}-{index}" for index in range(ROUND)]
    container = {"name": "c", "image": "busybox", "command": ["true"]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    for name in names:
        meta = {"metadata": {"name": name, "labels": {"app": name}}}
        await client.create(CONFIGMAPS, {**meta, "data": {"k": "v" * 2_000}}, namespace)
        await client.patch(CONFIGMAPS, name, namespace, {"data": {"k": "w" * 2_000}})
        await client.create(SERVICES, {**meta, "spec": {"ports": [{"port": 1}]}}, namespace)
    await client.create(DEPLOYMENTS, {"metadata": {"name": names[0]}, "spec": spec}, namespace)
    with pytest.raises(ApiError):
        await client.create(SERVICES, {"metadata": {"name": "²"}}, namespace)
    await client.list(CONFIGMAPS, namespace, labels=f"app={names[0]}")
    await client.delete(DEPLOYMENTS, names[0], namespace)
    await asyncio.gather(*(client.delete(CONFIGMAPS, name, namespace) for name in names))
    await asyncio.gather(*(client.delete(SERVICES, name, namespace) for name in names))


def _sizes(cluster: Cluster) -> dict[str, tuple[int, int]]:
    assert cluster.server.process is not None
    programs = {"apiserver": cluster.server.process, **cluster.programs}
    found = {}
    for name, program in programs.items():
        process = psutil.Process(program.pid)
        found[name] = (process.memory_info().rss, process.num_fds())
    return found


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(5, marks=pytest.mark.sandbox),
        pytest.param(600, marks=[pytest.mark.nightly, pytest.mark.timeout(1500)]),
    ],
)
def test_churn_leaves_nothing_behind(cluster: Cluster, seconds: int) -> None:
    namespace = cluster.namespace()
    numbers = itertools.count()
    end = time.monotonic() + seconds / 2
    while time.monotonic() < end or next(numbers) < 2:
        cluster.run(_churn(cluster, namespace, next(numbers)))
    before = _sizes(cluster)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        cluster.run(_churn(cluster, namespace, next(numbers)))
    after = _sizes(cluster)
    for name, (memory, descriptors) in after.items():
        assert memory - before[name][0] < MORE_MEMORY, (name, before, after)
        assert descriptors - before[name][1] < MORE_DESCRIPTORS, (name, before, after)
