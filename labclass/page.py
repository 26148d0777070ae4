"""The attendance page: everybody for an instructor, oneself for a learner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from labclass import roll
from labclass.ledger import Entry, Survey
from labclass.roll import STATES, Course, Row

HERE = Path(__file__).parent
SIGNS = {roll.STUCK: "!", roll.WORKING: "▸", roll.BEGINNING: "–", roll.DONE: "✓"}
COLUMNS = (
    ("name", "Learner"),
    ("need", "Status"),
    ("place", "Where"),
    ("progress", "Progress"),
    ("last", "Last result"),
)
_MOST_OBSTACLES = 8


@dataclass(frozen=True)
class View:
    """All of one moment."""

    course: Course
    rows: list[Row]
    obstacles: list[roll.Obstacle]
    at: datetime
    opinions: tuple[tuple[str, str, Survey], ...] = ()  # learner, workshop, answers

    @property
    def stuck(self) -> list[Row]:
        """Return who needs help, the longest waiting first."""
        return [row for row in roll.arranged(self.rows, "need") if row.state == roll.STUCK]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many there are in each state."""
        return {state: sum(row.state == state for row in self.rows) for state in STATES}


def view(names: Iterable[str], entries: Mapping[str, Entry], course: Course, at: datetime) -> View:
    """Look at some learners at one moment."""
    names = list(names)
    rows = [roll.row(name, entries.get(name), course, at) for name in names]
    known = [entries[name] for name in names if name in entries]
    opinions = tuple(
        (name, workshop, answers)
        for name in sorted(set(names) & set(entries), key=roll.natural)
        for workshop, answers in entries[name].report.survey.items()
    )
    return View(course, rows, roll.obstacles(known, rows, course), at, opinions)


@dataclass(frozen=True)
class Frame:
    """What every page carries: the address of the service, who looks, the proof for updates."""

    base: str
    me: str
    proof: str = ""


def of_class(seen: View, sort: str, frame: Frame) -> str:
    """Return the instructor's page."""
    sort = sort if sort in roll.SORTS else roll.SORTS[0]
    return str(
        _template("class.html.j2").render(
            view=seen,
            rows=roll.arranged(seen.rows, sort),
            obstacles=seen.obstacles[:_MOST_OBSTACLES],
            sort=sort,
            columns=COLUMNS,
            **_words(frame, seen.at),
        )
    )


def of_learner(row: Row, at: datetime, frame: Frame) -> str:
    """Return the page of one learner: where they stand, lab by lab."""
    return str(_template("learner.html.j2").render(row=row, **_words(frame, at)))


def as_json(seen: View, is_instructor: bool) -> dict[str, Any]:
    """Return the same as data; a learner gets no figures of the class."""
    rows = [asdict(row) for row in seen.rows]
    found: dict[str, Any] = {"at": seen.at.isoformat(timespec="seconds"), "learners": rows}
    if is_instructor:
        found["obstacles"] = [asdict(one) for one in seen.obstacles]
        found["counts"] = seen.counts
    return found


def static(name: str) -> bytes:
    """Return a file that the pages load."""
    return (HERE / "static" / name).read_bytes()


def _words(frame: Frame, at: datetime) -> dict[str, Any]:
    return {
        "signs": SIGNS,
        "ago": roll.words_of,
        "base": frame.base,
        "me": frame.me,
        "proof": frame.proof,
        "at_clock": at.astimezone().strftime("%H:%M:%S"),
    }


@cache
def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)
