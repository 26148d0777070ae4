"""Twelve learners as they are an hour into a class, for pages that people look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from labclass.attendance import course_of
from labclass.ledger import Ledger, read
from labclass.roll import Course
from labrunner.curriculum import load
from tests.repo.tree import ROOT

COURSE = course_of(load(ROOT))
FOUND = "creating"
HINTS = (
    "Look at the last events above: they name the member and what it waits for.",
    "Usually there is no room for the pod: `kubectl get kdcluster` says so in the column PROBLEM.",
    "Run the cell that begins `file = workspace(` again: it orders what is missing.",
)


def progress(
    upto: dict[str, int],
    course: Course = COURSE,
    *,
    fails: tuple[str, int, int] | None = None,
    ago: float = 2.0,
    now: datetime | None = None,
    hard: tuple[str, int, int] | None = None,
) -> dict[str, Any]:
    """Return a progress.json: labs with how many checkpoints passed, the last one minutes ago.

    `fails` is (lab, checkpoint's number, times in a row); `hard` one that passed after failures.
    """
    at = (now or datetime.now(UTC)) - timedelta(minutes=ago)
    kept: dict[str, Any] = {}
    names = {lab: names for lab, _, names in course.labs}
    passed = [(lab, name) for lab, count in upto.items() for name in names[lab][:count]]
    for back, (lab, name) in enumerate(reversed(passed)):
        when = (at - timedelta(minutes=4 * (back + bool(fails)))).isoformat()
        kept.setdefault(lab, {})[name] = _entry(True, 0, 0, when)
    if hard:
        lab, number, times = hard
        kept[lab][names[lab][number]]["failed"] = times
    if fails:
        lab, number, times = fails
        seen = {"found": FOUND, "hint": HINTS[min(times, len(HINTS)) - 1]}
        entry = _entry(False, times, times, at.isoformat()) | seen
        kept.setdefault(lab, {})[names[lab][number]] = entry
    return kept


def _entry(passed: bool, failures: int, failed: int, at: str) -> dict[str, Any]:
    return {"passed": passed, "failures": failures, "failed": failed, "first": at, "at": at}


def twelve(now: datetime | None = None) -> dict[str, dict[str, Any]]:
    """Return the progress of student1 to student12; the last one has not begun."""
    start, one, two, three = "start", "core/01", "core/02", "core/03"
    begun = {start: 2, one: 6}
    return {
        "student1": progress({**begun, two: 4}, ago=2, hard=(one, 2, 2), now=now),
        "student2": progress({**begun, two: 3}, fails=(two, 3, 4), ago=6, now=now),
        "student3": progress({**begun, two: 6, three: 5}, ago=1, now=now),
        "student4": progress({start: 2, one: 3}, fails=(one, 3, 1), ago=17, now=now),
        "student5": progress({**begun, two: 2}, fails=(two, 2, 2), ago=3, now=now),
        "student6": progress({**begun, two: 6}, ago=8, hard=(two, 3, 5), now=now),
        "student7": progress({**begun, two: 6, three: 6}, fails=(three, 6, 3), ago=4, now=now),
        "student8": progress({start: 1}, ago=0.2, now=now),
        "student9": progress({**begun, two: 5}, ago=25, now=now),
        "student10": progress({lab: len(n) for lab, _, n in COURSE.labs}, ago=12, now=now),
        "student11": progress({**begun, two: 3}, fails=(two, 3, 1), ago=1, now=now),
        "student12": {},
    }


def keep(ledger: Ledger, class_: dict[str, dict[str, Any]], now: datetime | None = None) -> None:
    """Put everybody's report into a ledger, as if it had come just now."""
    import json

    at = now or datetime.now(UTC)
    for name, kept in class_.items():
        body = json.dumps({"progress": kept, "at": at.isoformat()}).encode()
        ledger.keep(name, read(body), at)
