"""Who is where, who is stuck, what fails most: computed from everybody's last report.

Pure: what is known goes in, rows for a page come out. Only checkpoints that the labs have count,
so nothing that a learner invents is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from labclass.ledger import Entry, Result

STUCK, WORKING, BEGINNING, DONE = "stuck", "working", "not begun", "done"
STATES = (STUCK, WORKING, BEGINNING, DONE)
# Who failed the same checkpoint so often, or has shown nothing for so long since a failure, is
# stuck; who has shown nothing for QUIET may only be reading, and it is said. Servers report once a
# minute: one that has not for AWAY is silent.
MOST_FAILURES = 3
PATIENCE = 10 * 60.0
QUIET = 20 * 60.0
AWAY = 3 * 60.0
SORTS = ("need", "name", "place", "progress", "last")


@dataclass(frozen=True)
class Course:
    """The labs in their order, each with the names of its checkpoints."""

    labs: tuple[tuple[str, str, tuple[str, ...]], ...]  # id, title, checkpoints

    @property
    def total(self) -> int:
        """Return how many checkpoints there are."""
        return sum(len(names) for _, _, names in self.labs)


@dataclass(frozen=True)
class Trouble:
    """The checkpoint somebody fails now."""

    lab: str
    checkpoint: str
    failures: int
    age: float
    found: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Part:
    """How far somebody is in one lab."""

    lab: str
    title: str
    passed: tuple[str, ...]
    failing: tuple[tuple[str, int], ...]
    total: int

    @property
    def words(self) -> str:
        """Say it in words."""
        if not self.passed and not self.failing:
            return BEGINNING
        return DONE if len(self.passed) == self.total else "begun"


@dataclass(frozen=True)
class Row:
    """One learner."""

    name: str
    state: str
    why: str
    lab: str
    last: str
    passed: int
    total: int
    parts: tuple[Part, ...]
    trouble: Trouble | None
    age: float | None
    is_away: bool

    @property
    def here(self) -> Part | None:
        """Return the lab this learner is in."""
        return next((part for part in self.parts if part.lab == self.lab), None)


@dataclass(frozen=True)
class Obstacle:
    """A checkpoint that fails, and for how many."""

    lab: str
    checkpoint: str
    learners: int
    times: int
    now: int


def row(name: str, entry: Entry | None, course: Course, now: datetime) -> Row:
    """Say where one learner is."""
    progress = entry.report.progress if entry else {}
    parts = tuple(_part(lab, title, names, progress) for lab, title, names in course.labs)
    known = [
        (entry.age(result.at, now), lab, checkpoint, result)
        for lab, _, names in course.labs
        for checkpoint, result in progress.get(lab, {}).items()
        if entry and checkpoint in names
    ]
    passed = sum(len(part.passed) for part in parts)
    is_away = entry is not None and entry.age(None, now) > AWAY
    if not known:
        return Row(name, BEGINNING, "", "", "", 0, course.total, parts, None, None, is_away)
    age, lab, _, _ = min(known, key=lambda one: one[0])
    proved = [one for one in known if one[3].passed]
    last = min(proved, key=lambda one: one[0])[2] if proved else ""
    trouble = _trouble(course, lab, progress[lab], known)
    state, why = _state(trouble, age, passed, course.total)
    return Row(name, state, why, lab, last, passed, course.total, parts, trouble, age, is_away)


def _part(
    lab: str, title: str, names: tuple[str, ...], progress: Mapping[str, Mapping[str, Result]]
) -> Part:
    met = progress.get(lab, {})
    passed = tuple(name for name in names if name in met and met[name].passed)
    failing = tuple(
        (name, met[name].failures) for name in names if name in met and not met[name].passed
    )
    return Part(lab, title, passed, failing, len(names))


def _trouble(
    course: Course,
    lab: str,
    met: Mapping[str, Result],
    known: Iterable[tuple[float, str, str, Result]],
) -> Trouble | None:
    """Return the latest failure in a lab, unless the learner got past it since."""
    order = {
        name: at for one, _, names in course.labs if one == lab for at, name in enumerate(names)
    }
    ages = {checkpoint: age for age, where, checkpoint, _ in known if where == lab}
    failing = [name for name in ages if not met[name].passed]
    if not failing:
        return None
    name = min(failing, key=lambda one: (ages[one], order[one]))
    is_past = any(
        met[other].passed and order[other] > order[name] and ages[other] < ages[name]
        for other in ages
    )
    if is_past:
        return None
    last = met[name]
    return Trouble(lab, name, last.failures, ages[name], last.found, last.hint)


def _state(trouble: Trouble | None, age: float, passed: int, total: int) -> tuple[str, str]:
    if trouble and trouble.failures >= MOST_FAILURES:
        return STUCK, f"failed {trouble.failures} times in a row"
    if trouble and age >= PATIENCE:
        return STUCK, f"nothing new for {words_of(age)} after a failure"
    if passed == total:
        return DONE, ""
    if trouble is None:
        return WORKING, f"nothing new for {words_of(age)}" if age >= QUIET else ""
    return WORKING, f"tried {'once' if trouble.failures == 1 else 'twice'}, not yet"


def words_of(seconds: float) -> str:
    """Say how long something is ago, as a person would.

    >>> words_of(12), words_of(200), words_of(4000), words_of(200_000)
    ('under 1 min', '3 min', '1 h 6 min', '2 days')
    """
    minutes = int(seconds // 60)
    if minutes < 1:
        return "under 1 min"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return "1 day" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


def arranged(rows: Iterable[Row], sort: str) -> list[Row]:
    """Put rows in the asked order; first of all, and when nothing is asked, who needs help."""

    def long_ago(one: Row) -> float:
        return -(one.age if one.age is not None else -1.0)

    keys = {
        "need": lambda one: (STATES.index(one.state), not one.trouble, long_ago(one)),
        "name": lambda one: (),
        "place": lambda one: (one.lab, -one.passed),
        "progress": lambda one: (one.passed,),
        "last": lambda one: (one.age is None, one.age or 0.0),
    }
    by_name = sorted(rows, key=lambda one: natural(one.name))
    return sorted(by_name, key=keys.get(sort, keys["need"]))


def natural(name: str) -> tuple[str, int, str]:
    """Return a key by which student10 comes after student9.

    >>> sorted(["student10", "student9", "ann"], key=natural)
    ['ann', 'student9', 'student10']
    """
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits or 0), name


def obstacles(entries: Iterable[Entry], rows: Iterable[Row], course: Course) -> list[Obstacle]:
    """Return the checkpoints that failed, the worst first."""
    counted: dict[tuple[str, str], list[int]] = {}
    names = {lab: set(known) for lab, _, known in course.labs}
    for entry in entries:
        for lab, met in entry.report.progress.items():
            for checkpoint, result in met.items():
                if result.times_failed and checkpoint in names.get(lab, ()):
                    tally = counted.setdefault((lab, checkpoint), [0, 0])
                    tally[0] += 1
                    tally[1] += result.times_failed
    troubled = [(row.trouble.lab, row.trouble.checkpoint) for row in rows if row.trouble]
    found = [
        Obstacle(lab, checkpoint, learners, times, troubled.count((lab, checkpoint)))
        for (lab, checkpoint), (learners, times) in counted.items()
    ]
    return sorted(found, key=lambda one: (-one.learners, -one.times, one.lab, one.checkpoint))
