"""kdclusters with running members: made, resized, broken, connected, deleted."""

from __future__ import annotations

import pytest

from .harness import Platform

pytestmark = pytest.mark.sandbox


def member(cluster: dict, role: int = 0, index: int = 0) -> dict:  # type: ignore[type-arg]
    return dict(cluster["status"]["roles"][role]["members"][index])


def test_cluster_becomes_configured_with_everything_it_needs(
    platform: Platform, namespace: str
) -> None:
    platform.make_cluster("c", namespace)
    cluster = platform.wait_configured("c", namespace)
    pod = member(cluster)["pod"]
    assert platform.calls(namespace, pod) == ["--configure"]
