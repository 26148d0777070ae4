"""What every test gets: a home of its own, and the warnings about what it left open.

A socket or file that nobody closed warns when it is collected. Garbage in a cycle waits for that
until some later test runs, which would get the error. So garbage is collected after each test, and
after each module, whose fixtures leave some too. What survives is frozen: the next collection looks
at new objects only and takes about a millisecond.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def garbage_of_the_module() -> Iterator[None]:
    """Collect what the fixtures of a module left; the warning belongs to its last test."""
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def garbage_of_the_test(
    garbage_of_the_module: None, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Collect what a test left, before the next one begins."""
    yield
    # They would keep the fixtures of a module beyond it; a test that was interrupted has none.
    (request.node.funcargs or {}).clear()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def home_of_the_test(
    garbage_of_the_test: None,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Point LABS_HOME to a fresh folder."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LABS_HOME", str(home))
    return home


LONG = ("tests/labs/stories/", "tests/labs/", "tests/golden/", "tests/browser/")
"""What takes minutes a file. Side by side it goes first, so that no worker ends alone with it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Count the examples in docstrings among the fast tests; put long files first for workers."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.fast)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [not item.nodeid.startswith(long) for long in LONG])


# They run in environments of their own, and two of them have the same name.
collect_ignore_glob = ["labregress/cases/*", "tests/labapps/*_model.py"]
