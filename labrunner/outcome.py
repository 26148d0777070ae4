"""What is known of one lab in one replay, and how it is kept between runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labrunner import files

PASSED, FAILED, SKIPPED, RUNNING, WAITING = "passed", "failed", "skipped", "running", "waiting"


@dataclass
class Outcome:
    """One lab's way through a replay."""

    lab: str
    title: str
    digest: str
    status: str = WAITING
    reason: str = ""
    seconds: float = 0.0
    peak: int = 0
    steps: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    again: str = ""  # what comparing the marked cells of a second run said
    parameters: dict[str, Any] = field(default_factory=dict)  # the values it was run with
    kept: bool = False  # passed in an earlier run, not run again

    @property
    def step(self) -> str:
        """Return the step reached, for people."""
        if not self.steps:
            return ""
        last = self.steps[-1]
        return f"{last['number']} of {last['of']} {last['title']}"

    def take(self, event: dict[str, Any]) -> None:
        """Add what the lab's process told."""
        kind = event.pop("event")
        if kind == "step":
            self.steps.append(event)
        elif kind == "checkpoint":
            self.checkpoints.append(event)
        elif kind == "error":
            self.error = event
        elif kind == "end":
            self.status = PASSED if event["ok"] else FAILED
            self.seconds, self.peak = event["at"], event["peak"]

    def fail(self, name: str, text: str) -> None:
        """Turn a lab into a failed one for a reason outside of its cells."""
        self.status = FAILED
        nowhere = dict.fromkeys(("cell", "source_cell", "step"), 0)
        unsaid = dict.fromkeys(("id", "title", "source", "trace"), "")
        known = {**nowhere, **unsaid, "count": None}
        self.error = self.error or {**known, "name": name, "text": text}


def save(outcomes: list[Outcome], path: Path) -> None:
    """Write the outcomes whole or not at all."""
    files.replace(path, json.dumps([asdict(outcome) for outcome in outcomes], indent=1))


def load(path: Path) -> dict[str, Outcome]:
    """Return the outcomes of an earlier run, by lab; none when there was none."""
    try:
        entries = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {entry["lab"]: Outcome(**entry) for entry in entries}
