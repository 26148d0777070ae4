"""Checkpoints: each step of a lab proves itself, and says what to do when it does not.

A checkpoint looks at the world (a file, a table, an object on the platform), never at a
variable of the cell above. The learner, the replay and the instructor see the same result:
the output carries `application/vnd.labs.checkpoint+json` beside its text and its HTML.

    from labhelpers.check import begin, check

    begin("core/03")
    check("The first commit is in the log", lambda: len(commits()) == 1,
          saw=lambda: f"{len(commits())} commits",
          hint=["Run the cell above once.", "Look into _delta_log with `ls`.", "df.write..."])

A second failure of the same checkpoint shows the second hint, and so on. Progress is kept in
the learner's home (`labhelpers.progress`), never in the repository.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labhelpers import progress, trouble
from labhelpers.colour import BAD, GOOD

__all__ = ["MIME", "CheckFailed", "begin", "check"]

MIME = "application/vnd.labs.checkpoint+json"

LONGEST = 300  # of what an error says: enough for its sentence, too little for its stack

_current = {"lab": ""}


class CheckFailed(AssertionError):
    """A checkpoint did not find what it expected; the text says what to do next.

    AssertionError
    └── CheckFailed
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)
        super().__init__(_sentences(record))

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentences alone: a learner needs no stack of ours."""
        return [f"CheckFailed: {self}"]


def begin(lab: str) -> None:
    """Name the lab that the checkpoints of this notebook belong to; tell its errors in sentences.

    >>> begin("core/03")
    """
    _current["lab"] = lab
    trouble.tell()


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
    >>> check("Water runs uphill", lambda: False, saw="it runs down", hint="Turn the picture.")
    Traceback (most recent call last):
    labhelpers.check.CheckFailed: Water runs uphill: not yet. Found: it runs down. Turn the picture.
    """
    cause: Exception | None = None
    try:
        passed = bool(ok() if callable(ok) else ok)
        seen = str(saw() if callable(saw) else saw)
    except Exception as error:  # the condition itself broke: that is what was found
        passed, seen, cause = False, _first_words(error), error
    lab = _current["lab"]
    failures = progress.record(lab, name, passed)
    hints = [hint] if isinstance(hint, str) else list(hint)
    record = {
        "lab": lab,
        "step": step,
        "name": name,
        "ok": passed,
        "saw": seen,
        "expected": expected,
        "hint": "" if passed or not hints else hints[min(failures, len(hints)) - 1],
    }
    _show(record)
    if not passed:
        raise CheckFailed(record) from cause


def _first_words(error: Exception) -> str:
    """Name an error and what it says, without the pages that some clients add.

    >>> _first_words(ValueError("(404)\\nReason: Not Found\\nHTTP response headers: {…}"))
    'ValueError: (404) Reason: Not Found'
    """
    said = " ".join(str(error).partition("HTTP response headers")[0].split())
    if len(said) > LONGEST:
        said = f"{said[:LONGEST]} …"
    return f"{type(error).__name__}: {said}".rstrip(": ")


def _sentences(record: Mapping[str, Any]) -> str:
    if record["ok"]:
        return f"✓ {record['name']}" + (f" (saw: {record['saw']})" if record["saw"] else "")
    parts = [f"{record['name']}: not yet."]
    if record["expected"]:
        parts.append(f"Expected: {record['expected']}.")
    if record["saw"]:
        parts.append(f"Found: {record['saw']}.")
    return " ".join([*parts, record["hint"]]).strip()


def _show(record: Mapping[str, Any]) -> None:
    """Display the checkpoint where there is a notebook, print the good news elsewhere."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        if record["ok"]:
            print(_sentences(record))
        return
    from IPython.display import display

    text = _sentences(record) if record["ok"] else f"✗ {_sentences(record)}"
    # Told apart by sign, words and the edge's form too; a screen reader hears a failure at once.
    edge, role = (f"solid {GOOD}", "status") if record["ok"] else (f"double {BAD}", "alert")
    body = (
        f'<div role="{role}" style="border-left:6px {edge};padding:.3em .8em">'
        f"{html.escape(text)}</div>"
    )
    bundle = {MIME: dict(record), "text/html": body, "text/plain": text}
    display(bundle, raw=True)
