"""Cron schedules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labsandbox.controllers import indexes, schedule

pytestmark = pytest.mark.fast

START = datetime(2026, 1, 30, 23, 58, 30, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "2026-01-30 23:59"),
        ("*/15 * * * *", "2026-01-31 00:00"),
        ("5 4 * * *", "2026-01-31 04:05"),
        ("0 9-17/4 * * mon-fri", "2026-02-02 09:00"),
        ("0 0 1 * *", "2026-02-01 00:00"),
        ("0 0 13 * 5", "2026-02-06 00:00"),
        ("0 0 * * 7", "2026-02-01 00:00"),
        ("0 0 29 feb *", "2028-02-29 00:00"),
        ("@weekly", "2026-02-01 00:00"),
    ],
)
def test_next_finds_the_moment(text: str, expected: str) -> None:
    found = schedule.parse(text).next(START)
    assert found is not None
    assert found.strftime("%Y-%m-%d %H:%M") == expected


def test_next_of_a_day_that_never_comes() -> None:
    assert schedule.parse("0 0 31 2 *").next(START) is None


@pytest.mark.parametrize("text", ["* * * *", "60 * * * *", "x * * * *", "*/0 * * * *", "@never"])
def test_parse_says_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match="Expected"):
        schedule.parse(text)


def test_due_is_the_latest_moment_missed() -> None:
    plan = schedule.parse("*/10 * * * *")
    now = datetime(2026, 1, 31, 1, 5, tzinfo=UTC)
    assert schedule.due(plan, START, now, UTC) == datetime(2026, 1, 31, 1, 0, tzinfo=UTC)
    assert schedule.due(plan, START, START, UTC) is None


@pytest.mark.parametrize(
    ("text", "numbers"), [("0,2-4,7", {0, 2, 3, 4, 7}), ("", set()), ("5", {5})]
)
def test_indexes_are_read_and_written(text: str, numbers: set[int]) -> None:
    assert indexes.read(text) == numbers
    assert (indexes.write(numbers) or "") == text
