"""What every test gets: a home of its own, so that no test touches a learner's progress."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home_of_the_test(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Point LABS_HOME to a fresh folder."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LABS_HOME", str(home))
    return home


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count the examples in docstrings among the fast tests."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.fast)
