"""How a checkpoint looks: text, HTML, and a record that programs read."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from labshow import origin
from labshow.colour import BAD, GOOD

__all__ = ["MIME", "STOPPED", "first_words", "sentences", "show"]

MIME = "application/vnd.labs.checkpoint+json"
STOPPED = "CheckFailed: the notebook stops here; what to do is in the box above."
HINTS = 3  # after which a practice copy shows the solution
LONGEST = 300  # of what an error says: enough for its sentence, too little for its stack


def sentences(record: Mapping[str, Any]) -> str:
    """Return a checkpoint as text."""
    if record["ok"]:
        return f"✓ {record['name']}" + (f" (saw: {record['saw']})" if record["saw"] else "")
    parts = [f"{record['name']}: not yet."]
    if record["expected"]:
        parts.append(f"Expected: {record['expected']}.")
    if record["saw"]:
        parts.append(f"Found: {record['saw']}.")
    return " ".join([*parts, record["hint"]]).strip()


def show(record: Mapping[str, Any], failures: int = 0) -> None:
    """Display the checkpoint where there is a notebook, print the good news elsewhere.

    In a practice copy the solution of a blank is folded below the third hint.
    """
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        if record["ok"]:
            print(sentences(record))
        return
    from IPython.display import display

    text = sentences(record) if record["ok"] else f"✗ {sentences(record)}"
    # Told apart by sign, words and the edge's form too; a screen reader hears a failure at once.
    edge, role = (f"solid {GOOD}", "status") if record["ok"] else (f"double {BAD}", "alert")
    body = (
        f'<div role="{role}" style="border-left:6px {edge};padding:.3em .8em">'
        f"{html.escape(text)}{_solution(record, failures)}</div>"
    )
    bundle = {MIME: dict(record), "text/html": body, "text/plain": text}
    display(bundle, raw=True)


def _solution(record: Mapping[str, Any], failures: int) -> str:
    if record["ok"] or failures < HINTS or not (code := origin.solution(record["name"])):
        return ""
    return f"<details><summary>A solution</summary><pre>{html.escape(code)}</pre></details>"


def first_words(error: Exception) -> str:
    """Name an error and what it says, without the pages that some clients add.

    >>> first_words(ValueError("(404)\\nReason: Not Found\\nHTTP response headers: {…}"))
    'ValueError: (404) Reason: Not Found'
    """
    said = " ".join(str(error).partition("HTTP response headers")[0].split())
    if len(said) > LONGEST:
        said = f"{said[:LONGEST]} …"
    return f"{type(error).__name__}: {said}".rstrip(": ")
