"""Rules about the hints of checkpoints: three of them, and each leads somewhere.

The first hint says where to look; the second what is usually wrong, with the command that shows it;
the third what to type, or which cells to run. Cells are named by how they begin. What a third hint
asks for can be read by a program (`advice`), so a test follows it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from labrunner.draft import Draft, python_of

HINTS = 3
CODE = re.compile(r"`([^`]+)`")
TOLD = re.compile(r"\b(?P<verb>begins?|[Tt]ype) (?P<codes>`[^`]+`(?:(?:, | and |, then )`[^`]+`)*)")


def advice(hint: str) -> list[tuple[str, str]]:
    """Return what a hint asks for, in order: ("cell", its beginning) or ("type", the line).

    >>> advice("Type `a = 1` in a cell, run the cells that begin `b =` and `c(`, not `ls`.")
    [('type', 'a = 1'), ('cell', 'b ='), ('cell', 'c(')]
    """
    return [
        ("type" if match["verb"].lower() == "type" else "cell", code)
        for match in TOLD.finditer(hint)
        for code in CODE.findall(match["codes"])
    ]


def checkpoints_have_three_hints(draft: Draft) -> Iterator[str]:
    """A checkpoint that asks the platform has three hints: where, what, and what to type."""
    for name, call in _checkpoints(draft):
        if not isinstance(call.args[1], ast.Lambda | ast.Name | ast.Attribute):
            continue  # it judges a value that is there already
        hints = _hints(call)
        if len(set(filter(None, hints))) != HINTS:
            yield f"`{name}` has {len(hints)} hints; three different ones, each stronger."
        elif not all(CODE.search(hint) for hint in hints[1:]):
            yield (
                f"`{name}`: the second hint shows a command, the third a line to type or a cell to "
                "run; write them between backticks."
            )


def hints_name_cells_that_exist(draft: Draft) -> Iterator[str]:
    """A cell that a hint names by how it begins is there, once."""
    for name, call in _checkpoints(draft):
        for kind, words in (told for hint in _hints(call) for told in advice(hint)):
            found = sum(cell.text.startswith(words) for cell in draft.code)
            if kind == "cell" and found != 1:
                yield f"`{name}` names the cell that begins `{words}`; {found} cells do."


def _checkpoints(draft: Draft) -> Iterator[tuple[str, ast.Call]]:
    """Yield the checkpoints of a lab; one that fails on purpose stands in a `try` and is none."""
    if not draft.is_lab:
        return
    for cell in draft.code:
        for node in python_of(cell.text).body:
            call = node.value if isinstance(node, ast.Expr) else None
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "check":
                yield _text(call.args[0]), call


def _hints(call: ast.Call) -> list[str]:
    """Return a checkpoint's hints as they are written; {} stands for what is filled in."""
    for word in call.keywords:
        if word.arg == "hint":
            written = word.value
            several = written.elts if isinstance(written, ast.List | ast.Tuple) else [written]
            return [_text(one) for one in several]
    return []


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return "{}"


RULES = (checkpoints_have_three_hints, hints_name_cells_that_exist)
