"""The questions of a lab's recap, as its notebook asks them, and how a learner answered them.

The first answer counts. It is kept in progress.json beside the checkpoints, under the question's
own words: `passed` once the right answer was opened, `failed` for the wrong ones before it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from labhelpers import progress

__all__ = ["Question", "answer", "in_code", "of", "score"]


@dataclass(frozen=True)
class Question:
    """One question, its answers in their order, and which of them is right."""

    text: str
    answers: tuple[str, ...]
    right: int
    because: str


def of(notebook: Path) -> tuple[Question, ...]:
    """Return the questions of a notebook, in order; none when it cannot be read."""
    try:
        return _of(notebook, notebook.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ()


@lru_cache(maxsize=64)
def _of(notebook: Path, _: int) -> tuple[Question, ...]:
    cells = json.loads(notebook.read_text("utf-8")).get("cells", [])
    texts = ["".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code"]
    return tuple(one for text in texts if "quiz(" in text for one in in_code(text))


def in_code(text: str) -> Iterator[Question]:
    """Yield the questions that a cell asks.

    >>> [one.right for one in in_code('quiz("Why?", ["a", "b"], right=1, because="So.")')]
    [1]
    >>> list(in_code("quiz(half a"))
    []
    """
    try:
        body = ast.parse(text).body
    except SyntaxError:  # a magic, or a learner is typing
        return
    for node in body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "quiz":
            given = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
            question, answers = (ast.literal_eval(word) for word in call.args[:2])
            yield Question(question, tuple(answers), given["right"], given["because"])


def answer(lab: str, question: Question, number: int) -> bool:
    """Note an answer, unless the right one was given before; tell whether this one is right."""
    is_right = number == question.right
    known = progress.load().get(lab, {}).get(question.text, {})
    if not known.get("passed"):
        progress.record(lab, question.text, is_right, question.answers[number])
    return is_right


def score(known: tuple[Question, ...], met: Mapping[str, Mapping[str, Any]]) -> tuple[int, int]:
    """Return how many questions were answered, and how many of those right at the first answer."""
    seen = [met[one.text] for one in known if one.text in met]
    return len(seen), sum(bool(one.get("passed")) and not one.get("failed") for one in seen)
