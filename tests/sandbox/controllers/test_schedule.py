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
    plan = schedule.parse("0 0 31 2 *")
    assert plan.next(START) is None
    with pytest.raises(schedule.NeverFires):
        schedule.due(plan, START, START)


@pytest.mark.parametrize(
    "text", ["* * * *", "60 * * * *", "x * * * *", "*/0 * * * *", "@never", "@every soon"]
)
def test_parse_says_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match="Expected"):
        schedule.parse(text)


def test_due_is_the_latest_moment_missed() -> None:
    plan = schedule.parse("*/10 * * * *")
    now = datetime(2026, 1, 31, 1, 5, tzinfo=UTC)
    found = schedule.due(plan, START, now)
    assert found == schedule.Due(datetime(2026, 1, 31, 1, 0, tzinfo=UTC), 7)
    assert schedule.due(plan, START, START) is None


def test_due_of_an_uneven_schedule_is_the_latest_too() -> None:
    plan = schedule.parse("30 6-16/4 * * 1-5")
    monday = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
    found = schedule.due(plan, START, monday)
    assert found is not None
    assert found.moment == datetime(2026, 2, 2, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("0 9 * * *", "Asia/Tokyo", "2026-01-31 00:00"),
        ("TZ=Asia/Tokyo 0 9 * * *", None, "2026-01-31 00:00"),
        ("@every 1h30m", None, "2026-01-31 01:28"),
    ],
)
def test_next_in_another_zone_or_after_a_time(text: str, zone: str | None, expected: str) -> None:
    found = schedule.parse(text, zone).next(START)
    assert found is not None
    assert found.strftime("%Y-%m-%d %H:%M") == expected


def test_next_leaves_out_a_time_that_the_change_of_clocks_skips() -> None:
    plan = schedule.parse("30 2 * * *", "Europe/Berlin")
    found = plan.next(datetime(2026, 3, 28, 12, 0, tzinfo=UTC))
    assert found == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0,2-4,7", {0, 2, 3, 4, 7}), ("0,1,3-5", {0, 1, 3, 4, 5}), ("", set()), ("5", {5})],
)
def test_indexes_are_read_and_written(text: str, numbers: set[int]) -> None:
    assert indexes.read(text) == numbers
    assert (indexes.write(numbers) or "") == text
