"""Every recorded case: status, body, warnings and content type as the real server gave them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.golden.differential.cases import (
    SHARED,
    Case,
    Client,
    differences,
    masked,
    own_part,
    read_cases,
    read_known,
)
from tests.golden.server import TOKENS, OwnServer

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]
CASES = read_cases()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with OwnServer() as server:
        found = Client(server.url, server.ca, TOKENS["admin"])
        found.prepare()
        yield found
        found.close()


def problems(client: Client, case: Case) -> list[str]:
    ours = own_part(client.answer(case), case.names)
    return list(differences(own_part(case.real, case.names), ours))


@pytest.fixture(scope="module")
def found(client: Client) -> dict[str, list[str]]:
    return {case.id: problems(client, case) for case in CASES}


def test_cases_are_there() -> None:
    assert len(CASES) > 140
    assert len({case.id for case in CASES}) == len(CASES)


def test_cases_are_answered_as_by_the_real_server(found: dict[str, list[str]]) -> None:
    known = read_known()
    unlisted = {name: rows for name, rows in found.items() if rows and name not in known}
    assert not unlisted, "\n".join(
        f"{name}\n   " + "\n   ".join(rows) for name, rows in unlisted.items()
    )


def test_cases_listed_as_different_still_differ(found: dict[str, list[str]]) -> None:
    gone = [name for name in read_known() if not found[name]]
    assert not gone, f"no longer differs, take it off known.toml: {gone}"


@pytest.mark.skipif(not (SHARED / "cases.json").exists(), reason="handed-out cases are not here")
def test_cases_are_those_handed_out() -> None:
    assert read_cases(SHARED) == CASES


@pytest.mark.fast
def test_comparison_sees_a_changed_answer() -> None:
    case = CASES[0]
    changed = {**case.real, "status": 999}
    assert list(differences(case.real, changed)) == [
        f"/status: real {case.real['status']}, ours 999"
    ]
    assert list(differences({"a": [1]}, {"a": [1, 2]})) == ["/a: real [1], ours [1, 2]"]


@pytest.mark.fast
def test_masks_keep_what_a_client_reads() -> None:
    assert masked({"metadata": {"resourceVersion": "12"}}) == {
        "metadata": {"resourceVersion": "<rv>"}
    }
    assert masked({"nodePort": 30123}) == {"nodePort": 30123}
    assert masked("spec.replicas: Invalid value: -1") == "spec.replicas: Invalid value: -1"


@pytest.mark.fast
def test_own_part_keeps_events_of_the_case() -> None:
    events = [
        {"type": "ADDED", "object": {"metadata": {"name": "mine"}}},
        {"type": "ADDED", "object": {"metadata": {"name": "other"}}},
        {"type": "BOOKMARK", "object": {"metadata": {}}},
    ]
    assert own_part({"body": events}, {"mine"})["body"] == [events[0], events[2]]
