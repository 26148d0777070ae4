"""One hub for the tests that only look at it, with two learners whose servers run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.classroom_folder import make
from tests.hub.person import Person
from tests.hub.running import Hub


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Return a running hub."""
    running = Hub(make(tmp_path_factory.mktemp("hub") / "class"))
    try:
        yield running.start()
    finally:
        running.close()


def _present(hub: Hub, name: str) -> Person:
    person = hub.person(name)
    person.sign_in()
    person.start_server()
    return person


@pytest.fixture(scope="session")
def first(hub: Hub) -> Person:
    """Return student1 in their own running server."""
    return _present(hub, "student1")


@pytest.fixture(scope="session")
def second(hub: Hub) -> Person:
    """Return student2 in their own running server."""
    return _present(hub, "student2")
