"""Checkpoints: each step of a lab proves itself, and says what to do when it does not.

A checkpoint looks at the world (a file, a table, an object on the platform), never at a
variable of the cell above. The learner, the replay and the instructor see the same result:
the output carries `application/vnd.labs.checkpoint+json` beside its text and its HTML.

A second failure shows the second hint, and so on; `labhelpers.progress` keeps the count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labhelpers import progress
from labshow import checkpoint, origin, trouble
from labspark.place import home, project_repo

__all__ = ["CheckFailed", "begin", "check"]

_current = {"lab": ""}


class CheckFailed(AssertionError):
    """A checkpoint did not find what it expected; the text says what to do next.

    AssertionError
    └── CheckFailed
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)
        super().__init__(checkpoint.sentences(record))

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show one line: the box above has the sentences, and no stack helps."""
        return [checkpoint.STOPPED]


def begin(lab: str) -> None:
    """Name the lab that the checkpoints of this notebook belong to; tell its errors in sentences.

    >>> begin("core/03")
    """
    _current["lab"] = lab
    origin.belongs_to(lab)
    trouble.tell({"the project repository": project_repo, "your home for the labs": home})


def check(
    name: str,
    ok: bool | Callable[[], object],
    saw: object | Callable[[], object] = "",
    hint: str | Sequence[str] = "",
    *,
    expected: str = "",
    step: int | None = None,
) -> None:
    """Show that a step worked, or raise CheckFailed with the next hint.

    >>> check("Two and two make four", 2 + 2 == 4, saw=4, step=1)
    ✓ Two and two make four (saw: 4)
    >>> check("Water runs uphill", lambda: False, saw="it runs", hint="Turn it.")
    Traceback (most recent call last):
    labhelpers.checkpoint.CheckFailed: Water runs uphill: not yet. Found: it runs. Turn it.
    """
    cause: Exception | None = None
    try:
        passed = bool(ok() if callable(ok) else ok)
        seen = str(saw() if callable(saw) else saw)
    except Exception as error:  # the condition itself broke: that is what was found
        if origin.sentence(error):  # a cell above has not run: nothing is known of the step
            raise
        passed, seen, cause = False, checkpoint.first_words(error), error
    lab = _current["lab"]
    hints = [hint] if isinstance(hint, str) else list(hint) or [""]
    failures = progress.record(lab, name, passed, seen, hints)
    record = {
        "lab": lab,
        "step": step,
        "name": name,
        "ok": passed,
        "saw": seen,
        "expected": expected,
        "hint": "" if passed else hints[min(failures, len(hints)) - 1],
    }
    checkpoint.show(record, failures)
    if not passed:
        raise CheckFailed(record) from cause
