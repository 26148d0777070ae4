"""One fresh sandbox for the story of a workshop, and what has passed in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labrunner import sandbox
from tests.labs.platform import Platform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("story")
    with sandbox.running(folder / "state") as settings:
        lines = [f"{name}={value!r}" for name, value in settings.items()]
        (folder / "platform.env").write_text("\n".join(lines))
        yield Platform(folder / "state", settings)


@pytest.fixture(scope="module")
def passed() -> set[str]:
    """Collect the labs that passed, for those that need them."""
    return set()
