"""One cluster for all tests of the controllers against a running API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.cluster import Cluster
from tests.sandbox.conftest import ApiServer


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start API server, controllers and node."""
    made = Cluster(ApiServer(tmp_path_factory.mktemp("controllers")).start())
    try:
        made.start("controllers")
        made.start("node", "--allocatable", "cpu=64", "--allocatable", "memory=64Gi")
        yield made
    finally:
        made.close()


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """Make a namespace for a test."""
    return cluster.namespace("c")
