"""One running platform for the tests that only look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labsandbox.loop import BLOCKED
from tests.sandbox.platform.program import environment, family, labsandbox


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the state folder of a sandbox that runs, and take it down without a trace."""
    folder = tmp_path_factory.mktemp("sandbox") / "state"
    labsandbox("up", "--state", str(folder), "--detach", "--students", "2")
    yield folder
    labsandbox("down", "--state", str(folder))
    assert family(folder) == []
    log = folder / "logs" / "platform.log"
    assert BLOCKED not in log.read_text(errors="replace"), f"see {log}"


@pytest.fixture(scope="module")
def env(state: Path) -> dict[str, str]:
    """Return the environment a learner gets."""
    return environment(state)
