"""Who is stuck, who works, what fails most."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labclass import page, roll
from labclass.ledger import Entry, read
from labclass.roll import BEGINNING, DONE, STUCK, WORKING, Row
from tests.classroom.pupils import COURSE, progress, twelve

pytestmark = pytest.mark.fast

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


def entry(kept: dict[str, Any], sent: datetime = NOW, received: datetime | None = None) -> Entry:
    body = json.dumps({"progress": kept, "at": sent.isoformat()}).encode()
    return Entry(report=read(body), received=received or sent)


def row(kept: dict[str, Any], **more: Any) -> Row:
    return roll.row("zoe", entry(kept, **more), COURSE, NOW)


def at(**more: Any) -> dict[str, Any]:
    return progress({"start": 2, "core/01": 2}, now=NOW, **more)


def test_course_counts_every_checkpoint_that_can_pass() -> None:
    assert {lab: len(names) for lab, _, names in COURSE.labs}["start"] == 2, "not the moon"
    assert COURSE.total > 40


def test_nobody_heard_of_has_not_begun() -> None:
    found = roll.row("zoe", None, COURSE, NOW)
    assert (found.state, found.passed, found.total) == (BEGINNING, 0, COURSE.total)


def test_who_passes_works() -> None:
    found = row(at())
    assert (found.state, found.lab, found.passed) == (WORKING, "core/01", 4)
    assert found.last == COURSE.labs[1][2][1]
    assert (len(found.here.passed), found.here.total) == (2, 6) if found.here else False


@pytest.mark.parametrize(
    ("times", "ago", "state"), [(1, 1, WORKING), (2, 9, WORKING), (3, 1, STUCK), (1, 11, STUCK)]
)
def test_stuck_is_who_fails_often_or_falls_silent_after_a_failure(
    times: int, ago: float, state: str
) -> None:
    assert row(at(fails=("core/01", 2, times), ago=ago)).state == state


def test_instructor_reads_what_was_found_and_the_hint_that_was_shown() -> None:
    kept = at(fails=("core/01", 2, 3))
    name = COURSE.labs[1][2][2]
    kept["core/01"][name] |= {"found": "HTTP 401 & nothing else", "hint": "Sign in again."}
    seen = page.view(["zoe"], {"zoe": entry(kept)}, COURSE, NOW)
    assert seen.rows[0].trouble is not None
    assert seen.rows[0].trouble.hint == "Sign in again."
    shown = page.of_class(seen, "need", page.Frame("/", "teacher"))
    assert "Found: HTTP 401 &amp; nothing else" in shown
    assert "Hint shown: Sign in again." in shown


def test_running_the_lab_again_from_the_top_hides_no_trouble() -> None:
    kept = at(fails=("core/01", 2, 3), ago=5)
    for name in COURSE.labs[1][2][:2]:
        kept["core/01"][name]["at"] = (NOW - timedelta(minutes=1)).isoformat()
    assert row(kept).state == STUCK


def test_who_went_on_past_a_failure_is_not_stuck() -> None:
    kept = at(fails=("core/01", 2, 5), ago=30)
    later = {"passed": True, "failures": 0, "at": (NOW - timedelta(minutes=2)).isoformat()}
    kept["core/01"][COURSE.labs[1][2][3]] = later
    assert row(kept).state == WORKING


def test_who_went_to_another_lab_is_there() -> None:
    kept = at(fails=("core/01", 2, 5), ago=30)
    later = {"passed": True, "failures": 0, "at": (NOW - timedelta(minutes=2)).isoformat()}
    kept["core/03"] = {COURSE.labs[3][2][0]: later}
    found = row(kept)
    assert (found.state, found.lab) == (WORKING, "core/03")


def test_all_checkpoints_of_all_labs_are_done() -> None:
    kept = progress({lab: len(names) for lab, _, names in COURSE.labs}, now=NOW)
    assert row(kept).state == DONE


def test_invented_labs_and_checkpoints_do_not_count() -> None:
    made_up = {"passed": True, "failures": 0, "at": NOW.isoformat()}
    found = row({"core/99": {"I did it": made_up}, "core/01": {"<script>": made_up}})
    assert (found.state, found.passed) == (BEGINNING, 0)


def test_clock_of_the_learner_may_be_wrong_by_a_day() -> None:
    day = timedelta(days=1)
    kept = progress({"start": 2}, ago=7, now=NOW + day)
    found = roll.row("zoe", entry(kept, sent=NOW + day, received=NOW), COURSE, NOW)
    assert found.age == pytest.approx(7 * 60)
    wild = {"start": {COURSE.labs[0][2][0]: {"passed": True, "at": "9999-12-31T00:00:00Z"}}}
    assert row(wild).age == 0


def test_silent_server_is_said() -> None:
    found = roll.row("zoe", entry(at(ago=6), sent=NOW - timedelta(minutes=4)), COURSE, NOW)
    assert found.is_away
    assert found.age == pytest.approx(6 * 60), "time goes on though nothing is heard"


def test_who_needs_help_comes_first_and_the_longest_waiting_before_all() -> None:
    entries = {name: entry(kept) for name, kept in twelve(NOW).items()}
    seen = page.view(entries, entries, COURSE, NOW)
    assert [one.name for one in seen.stuck] == ["student4", "student2", "student7"]
    assert seen.counts == {STUCK: 3, WORKING: 7, BEGINNING: 1, DONE: 1}
    by_name = [one.name for one in roll.arranged(seen.rows, "name")]
    assert by_name == [f"student{number}" for number in range(1, 13)]
    for sort in roll.SORTS:
        assert len(roll.arranged(seen.rows, sort)) == 12


def test_what_failed_most_counts_learners_and_failures() -> None:
    entries = {name: entry(kept) for name, kept in twelve(NOW).items()}
    worst = page.view(entries, entries, COURSE, NOW).obstacles[0]
    assert (worst.lab, worst.learners, worst.times, worst.now) == ("core/02", 3, 10, 2)
