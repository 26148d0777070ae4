"""One platform for all attacks, and their counts at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.attack.arena import Arena, Count, running
from tests.sandbox.conftest import ApiServer, make_server

_COUNTS = pytest.StashKey[list[Count]]()


@pytest.fixture(scope="package")
def arena(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Arena]:
    """Start a platform with two tenants."""
    for made in running(tmp_path_factory.mktemp("attack")):
        request.config.stash[_COUNTS] = made.counts
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """Start an API server of the module's own."""
    made = make_server()
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="session")
def seed() -> int:
    """Return what chance begins with; ATTACK_SEED repeats a run or makes another one."""
    return int(os.environ.get("ATTACK_SEED", "11"))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print how many tries were made at each door, and how many succeeded."""
    counts = config.stash.get(_COUNTS, [])
    if not counts:
        return
    tries, successes = (sum(c.tries for c in counts), sum(len(c.successes) for c in counts))
    terminalreporter.section(f"attacks (seed {os.environ.get('ATTACK_SEED', '11')})")
    for count in counts:
        terminalreporter.write_line(f"{count.tries:7} tries {len(count.successes):4}  {count.door}")
    terminalreporter.write_line(f"{tries:7} tries {successes:4}  succeeded in all")
