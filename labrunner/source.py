"""The text a lab is written in: percent-format Python, read into cells.

Nothing here runs a cell. What a notebook must contain is a matter of `rules`, how it is written
to disk one of `notebook`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labrunner.errors import BadSource

SOLUTION = re.compile(r"^(\s*)# solution\s*$")
END = re.compile(r"^\s*# end of solution\s*$")
BLANK = re.compile(r"^(\s*)# blank: (.*)$")
STUB = re.compile(r"^(\s*)# stub: (.*)$")
MARKER = re.compile(r"^# %%(?:\s|$)")
TEXT_ONLY = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags"}


@dataclass(frozen=True)
class Cell:
    """One cell of a lab's source."""

    kind: str  # "code" or "markdown"
    text: str
    tags: tuple[str, ...] = ()
    practice: str = ""  # of a blank: what a learner gets who practises


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell: `name: type = value  # help`."""

    name: str
    type: str
    value: Any
    help: str


def read(path: Path) -> list[Cell]:
    """Read a percent-format file into cells."""
    import jupytext

    try:
        notebook = jupytext.reads(path.read_text("utf-8"), fmt="py:percent")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadSource(f"Expected the source of a lab in {path}: {error}.") from error
    return [
        Cell(cell.cell_type, cell.source.strip("\n"), tuple(cell.metadata.get("tags", ())))
        for cell in notebook.cells
        if cell.source.strip()
    ]


def first_lines(text: str) -> list[int]:
    """Return the number of the first line of each cell's own text, in the order of `read`.

    >>> first_lines("# %% [markdown]\\n# # Title\\n\\n# %%\\n\\n# %%\\n# %%magic\\n1 + 1\\n")
    [2, 7]
    """
    found: list[int] = []
    is_waiting = False
    for number, line in enumerate(text.splitlines(), start=1):
        if MARKER.match(line):
            is_waiting = True
        elif is_waiting and line.strip(" #"):
            found.append(number)
            is_waiting = False
    return found


def write(cells: list[Cell]) -> str:
    """Return the percent-format text of cells; the inverse of `read`."""
    import jupytext
    import nbformat.v4 as v4

    made = []
    for cell in cells:
        make: Any = v4.new_code_cell if cell.kind == "code" else v4.new_markdown_cell
        made.append(make(cell.text, metadata={"tags": list(cell.tags)} if cell.tags else {}))
    notebook = v4.new_notebook(cells=made, metadata={"jupytext": TEXT_ONLY})
    return str(jupytext.writes(notebook, fmt="py:percent"))


def stub_of(text: str) -> str:
    """Return an exercise or a blank as the learner first sees it: without the solution."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if opening := SOLUTION.match(line):
            inside = True
            kept.append(f"{opening[1]}# Your code here.")
        elif END.match(line):
            inside = False
        elif stub := STUB.match(line):
            kept.append(stub[1] + stub[2])
        elif blank := BLANK.match(line):
            kept.append(f"{blank[1]}# Your task: {blank[2]}")
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def solved(text: str) -> str:
    """Return an exercise or a blank with its solution in place, markers and stub lines gone."""
    marks = (SOLUTION, END, STUB, BLANK)
    lines = (line for line in text.splitlines() if not any(mark.match(line) for mark in marks))
    return "\n".join(lines)


def solution_of(text: str) -> str:
    """Return only the lines between the solution's markers."""
    lines = text.splitlines()
    inside = False
    found: list[str] = []
    for line in lines:
        if END.match(line):
            inside = False
        elif inside and not STUB.match(line):
            found.append(line)
        elif SOLUTION.match(line):
            inside = True
    return "\n".join(found)


def parameters(cells: list[Cell]) -> list[Parameter]:
    """Return the parameters of a lab, from the cell with that tag."""
    return [
        parameter
        for cell in cells
        if "parameters" in cell.tags and cell.kind == "code"
        for parameter in _parameters(cell.text)
    ]


def _parameters(text: str) -> list[Parameter]:
    found = []
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if not isinstance(node, ast.AnnAssign | ast.Assign) or node.value is None:
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        kind = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
        comment = lines[(node.end_lineno or 1) - 1].partition("  # ")[2]
        try:
            value = ast.literal_eval(node.value)
        except ValueError as error:
            raise BadSource(
                f"Expected a literal for the parameter {ast.unparse(target)}, "
                f"found `{ast.unparse(node.value)}`. Compute it in the Setup cell."
            ) from error
        found.append(Parameter(ast.unparse(target), kind, value, comment.strip()))
    return found
