"""The replay itself: recorded exchanges against a fresh server, differences listed or failing."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.golden.coverage import FILE, write_coverage
from tests.golden.recording import Area, read_areas
from tests.golden.replay import Result, replay_areas
from tests.golden.report import describe, explain, read_known
from tests.golden.server import OwnServer

RECORDINGS = Path(__file__).with_name("recordings")
AREAS = read_areas(RECORDINGS)
# Areas of part 1: the server alone.
ALONE = [area.name for area in AREAS if area.name < "20"]
TIMED = [area.name for area in AREAS if area.name[:2] in ("20", "21")]
pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(400)]


# These wait for what happens after some time: each has a server of its own, so they wait together.
WAITING = ("13-watch", "20-controllers", "21-garbage-collection")


@pytest.fixture(scope="session")
def results() -> dict[str, list[Result]]:
    """Replay all areas once, those of one server in the order they were recorded."""
    groups = [[area for area in AREAS if area.name not in WAITING]]
    groups += [[area] for area in AREAS if area.name in WAITING]
    with ThreadPoolExecutor(len(groups)) as pool:
        replayed = [answers for group in pool.map(_replay, groups) for answers in group]
    return {area.name: answers for area, answers in replayed}


def _replay(areas: list[Area]) -> list[tuple[Area, list[Result]]]:
    with OwnServer() as server:
        return [(area, answers) for area, answers, _ in replay_areas(server, areas)]


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_replay_differs_only_where_listed(area: Area, results: dict[str, list[Result]]) -> None:
    known = read_known()
    unlisted = [
        one for one in results[area.name] if not one.is_same and explain(one, known) is None
    ]
    assert not unlisted, "\n".join(
        f"{one.exchange}\n   " + "\n   ".join(describe(one)) for one in unlisted
    )


def test_replay_reaches_the_goal(results: dict[str, list[Result]]) -> None:
    """Status in at least 98 % and body in at least 90 % of the exchanges of the server alone."""
    found = [one for name in ALONE for one in results[name]]
    assert sum(one.is_status_same for one in found) >= 0.98 * len(found)
    assert sum(one.is_body_same for one in found) >= 0.90 * len(found)


def test_replay_known_differences_are_still_there(results: dict[str, list[Result]]) -> None:
    """A listed difference that is gone must leave the list."""
    found = [one for answers in results.values() for one in answers if not one.is_same]
    gone = [
        entry
        for entry in read_known()
        if not any(entry.covers(one) for one in found) and entry.area not in TIMED
    ]
    assert not gone, f"no longer differs, take it off known.toml: {gone}"


def test_replay_coverage_page_is_current(results: dict[str, list[Result]]) -> None:
    flat = [one for area in AREAS for one in results[area.name]]
    made = write_coverage(AREAS, flat, read_known())
    if os.environ.get("WRITE_COVERAGE"):
        FILE.write_text(made, encoding="utf-8")
    # The controllers' areas depend on timing; what is written about them may vary by a few.
    assert _stable(FILE.read_text(encoding="utf-8")) == _stable(made), (
        "COVERAGE.md is not current; type: python -m tests.golden --coverage"
    )


def _stable(text: str) -> list[str]:
    timed = ("20-", "21-", "all ", "| 20-", "| 21-")
    return [line for line in text.splitlines() if not line.startswith(timed)]
