"""An instructor's guide to a workshop, as one Markdown page: aims, pace, questions, solutions.

All of it comes from labs.toml, the sources of the labs and the last replay, so it agrees with them.
It holds the solutions, so it is written where learners' servers do not look, and never released.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from labpanel import questions
from labrunner import draft, glossary, source
from labrunner.curriculum import Curriculum, Lab
from labrunner.draft import Draft
from labrunner.source import Cell
from labrunner.workshop import Workshop

__all__ = ["page", "seconds_of", "sessions"]

CHECK = re.compile(r"^check\(\s*\"([^\"]+)\"", re.M)
LONGEST, BREAK = 90, 15  # minutes of work without a break, and of a break
DAYS = {"Half a day": (210,), "A day": (210, 210), "Two days": (210, 150, 210, 150)}
CHECKLIST = """## Before, during, after

- **The week before**: `labs doctor --platform` on the class's machine, `labs replay --workshop
  {id}` once, and this page again, so that it has the seconds of that machine.
- **The hour before**: `labs class` runs, each card opens, the page "Who needs you" lists everybody.
  `labs class --practice` opens the copies with blanks first, `--guided` the complete ones; learners
  can open both.
- **During**: who has failed a checkpoint three times is on top of that page, with what was found
  and the last hint that was shown. Stop for the questions of each lab; they take five minutes.
- **After**: learners take their zip before `labs class` ends. Keep "What failed most".
"""


def page(curriculum: Curriculum, workshop: str, seconds: Mapping[str, float] | None = None) -> str:
    """Return the guide of a workshop; `seconds` are those a replay of each lab took."""
    labs = curriculum.labs_of(workshop)
    about = curriculum.workshop(workshop)
    drafts = [draft.read(curriculum, lab) for lab in labs]
    parts = [
        f"# {about.title}: the instructor's guide",
        about.sentence,
        "It holds the solutions: it is for instructors, not for the learners' folders.",
        "## The labs",
        _table(labs, seconds or {}),
        _needs(about),
        *_timetables(labs),
        CHECKLIST.format(id=workshop).strip(),
        *(text for one in drafts for text in _lab(one)),
    ]
    return "\n\n".join(parts) + "\n"


def seconds_of(report: Path) -> dict[str, float]:
    """Return the seconds of each lab that passed in a replay's report; nothing without one."""
    try:
        found = json.loads(report.read_text("utf-8"))["labs"]
        return {one["lab"]: float(one["seconds"]) for one in found if one["status"] == "passed"}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def sessions(labs: Iterable[Lab], blocks: tuple[int, ...]) -> list[list[Lab]]:
    """Put labs into blocks of so many minutes, in their order; what does not fit is left out."""
    todo = list(labs)
    found: list[list[Lab]] = []
    for block in blocks:
        taken: list[Lab] = []
        while todo and sum(lab.minutes for lab in taken) + todo[0].minutes <= block:
            taken.append(todo.pop(0))
        found.append(taken)
    return found


def _table(labs: Iterable[Lab], seconds: Mapping[str, float]) -> str:
    rows = ["| Lab | Minutes for learners | Seconds of a replay | Needs |", "|---|---|---|---|"]
    for lab in labs:
        took = f"{seconds[lab.id]:.0f}" if lab.id in seconds else "not measured"
        needs = ", ".join(lab.needs) or "–"
        rows.append(f"| {lab.id} {lab.title} | {lab.minutes} | {took} | {needs} |")
    return "\n".join(rows)


def _needs(about: Workshop) -> str:
    """Return what a class takes of its machine, for each learner and for all of them."""
    sizes = [f"{most} {what}" for what, most in about.learner.items() if "/" not in what]
    shared = f" The class shares {', '.join(about.shared)}." if about.shared else ""
    return (
        f"**Room.** A learner has at most {', '.join(sizes)} at the same time "
        f"({about.most_pods} pods while a lab scales one application).{shared}"
    )


def _timetables(labs: Sequence[Lab]) -> Iterator[str]:
    yield "## Timetables"
    lines = []
    for name, blocks in DAYS.items():
        found = sessions(labs, blocks)
        lines += [f"### {name}", ""]
        for number, one in enumerate(found, start=1):
            lines += [f"Session {number}:", "", *_session(one), ""] if one else []
        done = sum(map(len, found))
        if done < len(labs):
            lines += [f"At home: {', '.join(lab.id for lab in labs[done:])}.", ""]
    yield "\n".join(lines).strip()


def _session(labs: Iterable[Lab]) -> Iterator[str]:
    """Yield when each lab of a session begins, and the breaks."""
    now = since = 0
    for lab in labs:
        if since and since + lab.minutes > LONGEST:
            yield f"- {_clock(now)} break ({BREAK} min)"
            now, since = now + BREAK, 0
        yield f"- {_clock(now)} {lab.id} {lab.title} ({lab.minutes} min)"
        now, since = now + lab.minutes, since + lab.minutes
    yield f"- {_clock(now)} end"


def _clock(minutes: int) -> str:
    """Return hours and minutes from the beginning.

    >>> _clock(95)
    '1:35'
    """
    return f"{minutes // 60}:{minutes % 60:02}"


def _lab(one: Draft) -> Iterator[str]:
    """Yield what an instructor wants of one lab."""
    yield f"## {one.lab.heading}"
    if aim := _aim(one):
        yield f"**Aim.** {aim}"
    steps = [section.title for section in one.steps()]
    if steps:
        yield "**Steps.** " + "; ".join(steps) + "."
    names = [name for cell in one.code for name in CHECK.findall(cell.text)]
    yield "**Checkpoints.** " + "".join(f"\n{at}. {name}" for at, name in enumerate(names, start=1))
    for asked in (question for cell in one.code for question in questions.in_code(cell.text)):
        yield f"**To discuss.** {asked.text} *{asked.answers[asked.right]}.* {asked.because}"
    if trouble := one.section("If it does not work"):
        yield "### Troubles and their cures"
        prose = (_prose(cell.text) for cell in trouble.cells if cell.kind == "markdown")
        yield glossary.unlink("\n\n".join(prose))
    yield from _solutions(one)


def _aim(one: Draft) -> str:
    """Return the sentence below the heading."""
    lines = _prose(one.cells[0].text).split("\n\n") if one.cells else []
    return " ".join(lines[0].split()) if lines and lines[0] else ""


def _prose(text: str) -> str:
    """Return a text cell without its heading."""
    lines = text.strip().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#")).strip()


def _solutions(one: Draft) -> Iterator[str]:
    """Yield the solved blanks and the solved exercise, as code."""
    for title, tag in (("Blanks of the practice copy", "blank"), ("Exercise", "exercise")):
        found = [cell for cell in one.written if tag in cell.tags]
        if found:
            yield f"### {title}, solved"
        for cell in found:
            if tag == "blank":
                yield _task(one.written, cell)
            yield f"```python\n{source.solved(cell.text).strip()}\n```"


def _task(written: Sequence[Cell], blank: Cell) -> str:
    """Return what a blank asks for, and which checkpoint judges it."""
    tasks = [match[2] for line in blank.text.splitlines() if (match := source.BLANK.match(line))]
    below = "\n".join(cell.text for cell in written[written.index(blank) :] if cell.kind == "code")
    judge = CHECK.search(below)
    return f"**Task.** {' '.join(tasks)} *Judged by: {judge[1] if judge else 'nothing'}.*"
