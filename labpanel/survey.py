"""Three questions at the end of a workshop: asked once, kept in the learner's home.

In a class the instructor's page shows the answers; on a laptop nobody else sees them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from labrunner import files
from labrunner.errors import LabError
from labspark.place import home

__all__ = ["PACES", "QUESTIONS", "keep", "load"]

PACES = ("too slow", "right", "too fast")
QUESTIONS = {
    "useful": "How much of this can you use in your own work? (1: nothing, 5: most of it)",
    "pace": "How was the pace?",
    "change": "What is the one thing to change?",
}
LONGEST = 500
FILE = "survey.json"


def load() -> dict[str, Any]:
    """Return the answers by workshop; nothing before the first ones."""
    try:
        found = json.loads((home() / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keep(workshop: str, useful: object, pace: object, change: object) -> dict[str, Any]:
    """Keep the answers of one workshop, in the place of earlier ones, and return them."""
    if useful not in range(1, 6) or pace not in PACES or not isinstance(change, str):
        raise LabError(
            f"Expected a number from 1 to 5, a pace of {', '.join(PACES)}, and a text; found "
            f"{useful!r}, {pace!r} and {type(change).__name__}. Answer all three questions."
        )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    answers = {"useful": useful, "pace": pace, "change": change.strip()[:LONGEST], "at": at}
    home().mkdir(parents=True, exist_ok=True)
    text = json.dumps(load() | {workshop: answers}, indent=1, sort_keys=True)
    files.replace(home() / FILE, text, 0o600)
    return answers
