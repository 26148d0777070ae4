"""What a learner can show of a workshop: each checkpoint with its date and what it saw, digests.

The record comes from the learner's own progress and notebooks. Its digest proves that a copy is the
same record, not who wrote it: in a class, the instructor's page holds the same results.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from labhelpers import progress
from labpanel import questions, standing
from labrunner import glossary
from labrunner.curriculum import Curriculum, Lab
from labspark.place import user

__all__ = ["Checkpoint", "Evidence", "Part", "gather", "page"]

HERE = Path(__file__).parent
RECAP = re.compile(r"^## Recap *$(.*)", re.M | re.S)
MARKS = re.compile(r"\*\*|`")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: whether it passed, when last, after how many failures, and what it saw."""

    name: str
    passed: bool
    at: str
    failed: int
    saw: str


@dataclass(frozen=True)
class Part:
    """One lab."""

    lab: str
    title: str
    checkpoints: tuple[Checkpoint, ...]
    questions: int
    right_at_once: int
    built: tuple[str, ...]  # the sentences of the recap
    notebook: str  # sha256 of the learner's copy; nothing without one
    released: str  # sha256 of the lab as it is released

    @property
    def passed(self) -> int:
        """Return how many checkpoints have passed."""
        return sum(one.passed for one in self.checkpoints)

    @property
    def is_done(self) -> bool:
        """Tell whether every checkpoint has passed."""
        return 0 < len(self.checkpoints) == self.passed


@dataclass(frozen=True)
class Evidence:
    """One workshop of one learner."""

    workshop: str
    title: str
    learner: str
    at: str
    parts: tuple[Part, ...]

    @property
    def passed(self) -> int:
        """Return how many checkpoints have passed."""
        return sum(part.passed for part in self.parts)

    @property
    def total(self) -> int:
        """Return how many checkpoints there are."""
        return sum(len(part.checkpoints) for part in self.parts)

    @property
    def is_complete(self) -> bool:
        """Tell whether the workshop is finished."""
        return all(part.is_done for part in self.parts)

    @property
    def days(self) -> str:
        """Return the first and the last day of work, as dates."""
        dates = sorted(one.at[:10] for part in self.parts for one in part.checkpoints if one.at)
        if not dates:
            return ""
        return dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"

    @property
    def record(self) -> str:
        """Return all of it as JSON, the same bytes for the same facts."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def digest(self) -> str:
        """Return the sha256 of the record."""
        return hashlib.sha256(self.record.encode()).hexdigest()


def gather(curriculum: Curriculum, workshop: str, notebooks: Path) -> Evidence:
    """Return the evidence of a workshop; `notebooks` is the learner's folder of copies."""
    about, known = curriculum.workshop(workshop), progress.load()
    parts = [
        _part(curriculum, lab, notebooks / f"{lab.file}.ipynb", known.get(lab.id, {}))
        for lab in curriculum.labs_of(workshop)
    ]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Evidence(workshop, about.title, user(), at, tuple(parts))


def _part(
    curriculum: Curriculum, lab: Lab, copied: Path, met: Mapping[str, Mapping[str, Any]]
) -> Part:
    released = curriculum.notebook(lab)
    asked = questions.of(released)
    _, right = questions.score(asked, met)
    return Part(
        lab.id,
        lab.title,
        tuple(_checkpoint(name, met.get(name, {})) for name in standing.checkpoints(released)),
        len(asked),
        right,
        _built(released),
        _digest(copied),
        _digest(released),
    )


def _checkpoint(name: str, entry: Mapping[str, Any]) -> Checkpoint:
    saw = str(entry.get("saw", "")) if entry.get("passed") else ""
    failed = int(entry.get("failed", 0))
    return Checkpoint(name, bool(entry.get("passed")), str(entry.get("at", "")), failed, saw)


def _built(notebook: Path) -> tuple[str, ...]:
    """Return the sentences of a lab's recap, without their marks."""
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return ()
    prose = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    texts = [glossary.unlink(text) for text in prose]
    recap = next((found[1] for text in texts if (found := RECAP.search(text))), "")
    block = next((one for one in recap.split("\n\n") if one.lstrip().startswith("- ")), "")
    points = re.split(r"^- ", block, flags=re.M)
    return tuple(MARKS.sub("", " ".join(point.split())) for point in points if point.strip())


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def page(found: Evidence) -> str:
    """Return the evidence as one HTML page that needs no network."""
    return str(template("evidence.html.j2").render(found=found))


@cache
def template(name: str) -> Any:
    """Return a template of this folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)
