"""What is kept of everybody's progress: one small file for each learner, whole or not at all.

A report that was answered 200 is on the disk; killing the service with -9 loses none of it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from labrunner import files
from labrunner.errors import LabError

MOST_BYTES = 256 * 1024
_MOST = 10**6
log = logging.getLogger(__name__)

_Count = Annotated[int, Field(ge=0, le=_MOST)]
_Text = Annotated[str, Field(max_length=1000)]
_Name = Annotated[str, Field(min_length=1, max_length=300)]


class BadReport(LabError):
    """What was sent is no report of progress."""


class Result(BaseModel):
    """One checkpoint, as labhelpers.progress keeps it; an older collection kept less."""

    passed: bool
    failures: _Count = 0
    failed: _Count | None = None
    at: AwareDatetime | None = None
    first: AwareDatetime | None = None
    found: _Text = ""
    hint: _Text = ""

    @property
    def times_failed(self) -> int:
        """Return how often it failed in all, as far as is known."""
        return self.failures if self.failed is None else self.failed


class Survey(BaseModel):
    """One learner's answers at the end of a workshop, as labpanel.survey keeps them."""

    useful: Annotated[int, Field(ge=1, le=5)]
    pace: Annotated[str, Field(max_length=20)]
    change: _Text = ""


class Report(BaseModel):
    """What a learner's server sends."""

    progress: dict[_Name, Annotated[dict[_Name, Result], Field(max_length=200)]] = Field(
        max_length=200
    )
    at: AwareDatetime
    survey: dict[_Name, Survey] = Field(default_factory=dict, max_length=50)


class Entry(BaseModel):
    """A report, and when it came."""

    report: Report
    received: AwareDatetime

    def age(self, then: datetime | None, now: datetime) -> float:
        """Return how many seconds ago a result was, by the clock of this host.

        The learner's clock may be another's: only differences of it count.
        """
        since_sent = max((now - self.received).total_seconds(), 0.0)
        if then is None:
            return since_sent
        return since_sent + max((self.report.at - then).total_seconds(), 0.0)


def read(body: bytes) -> Report:
    """Read what was sent, or say in a sentence what is wrong with it."""
    try:
        return Report.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise BadReport(
            'Expected {"progress": {lab: {checkpoint: {"passed", "failures", "at"}}}, "at": time}, '
            f"found at {where[:200]}: {first['msg']}. Send the whole of progress.json."
        ) from error


@dataclass(frozen=True)
class Ledger:
    """The folder of everybody's last report."""

    folder: Path

    def keep(self, name: str, report: Report, now: datetime | None = None) -> None:
        """Keep somebody's report, on the disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        entry = Entry(report=report, received=now or datetime.now(UTC))
        files.write_private(self.folder / f"{quote(name, safe='')}.json", entry.model_dump_json())

    def entries(self) -> dict[str, Entry]:
        """Return everybody's last report; a file that somebody damaged counts as none."""
        found = {}
        for file in sorted(self.folder.glob("*.json")):
            try:
                found[unquote(file.stem)] = Entry.model_validate_json(file.read_bytes())
            except (OSError, ValidationError) as error:
                log.warning("%s cannot be read: %s", file, error)
        return found
