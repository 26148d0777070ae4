"""One platform for all of the operator's tests against a running API."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.conftest import ApiServer

from .harness import Platform

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Start an API server, the controllers, a node and the operator."""
    state: Path = tmp_path_factory.mktemp("kubedirector")
    # Webhooks are asked twice about each write, as a kube-apiserver may do.
    server = ApiServer(state, ("--admission-webhook-calls", "2"))
    server.start()
    try:
        platform = Platform(server)
        try:
            platform.start_all()
            yield platform
        finally:
            platform.stop()
    finally:
        server.stop()


@pytest.fixture
def namespace(platform: Platform) -> str:
    """Make a namespace of its own for a test, with the small app in it."""
    name = platform.make_namespace(f"kd{next(_numbers)}")
    platform.make_app(name)
    return name
