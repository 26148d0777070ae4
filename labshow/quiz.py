"""Questions without code at the end of a lab, with the reason for each answer.

A question is a group of plain HTML with a name, an answer a fold that opens: it works with the
keyboard alone, at any zoom, without a kernel, and in the pages that a replay hands out. In
JupyterLab the panel of the labs reports the first answer to each question to the learner's
progress; it finds lab, question and answer in the `data-labs-` attributes of the folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from labshow import origin

__all__ = ["quiz"]

_FRAME = "border:1px solid currentColor;border-radius:4px;margin:.6em 0;padding:.3em 1em .6em"


def quiz(question: str, answers: Sequence[str], right: int, because: str) -> None:
    """Ask a question; opening an answer shows whether it is right, and why.

    >>> quiz("What is a table version?", ["A commit", "A copy"], 0, "Each commit makes one.")
    What is a table version?
      a) A commit
      b) A copy
    """
    letters = "abcdefgh"
    lettered = [f"{letter}) {answer}" for letter, answer in zip(letters, answers, strict=False)]
    text = "\n".join([question, *(f"  {answer}" for answer in lettered)])
    from IPython.core.getipython import get_ipython

    if get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    page = _page(question, lettered, right, because)
    display({"text/plain": text, "text/html": page}, raw=True)


def _page(question: str, lettered: Sequence[str], right: int, because: str) -> str:
    """Return the question as a group of folds, of which one is open at a time."""
    folds = ""
    for number, answer in enumerate(lettered):
        verdict = "✓ Right." if number == right else "✗ Not quite."
        folds += (
            f'<details name="{escape(question, quote=True)}" style="margin:.3em 0" '
            f'data-labs-lab="{escape(origin.lab(), quote=True)}" data-labs-answer="{number}">'
            f'<summary style="cursor:pointer">{escape(answer)}</summary>'
            f'<p style="margin:.2em 0 .2em 1.2em"><strong>{verdict}</strong> {escape(because)}</p>'
            "</details>"
        )
    legend = f'<legend style="font-weight:bold;padding:0 .4em">{escape(question)}</legend>'
    return f'<fieldset style="{_FRAME}">{legend}{folds}</fieldset>'
