"""Which cell of the notebook makes a name, for a name that the kernel does not know.

After a restart of the kernel, or when a cell was skipped, Python says only `name 'x' is not
defined`. The notebook on disk says which cell makes it. Jupyter names the file in JPY_SESSION_NAME;
where that is absent (a headless run), the notebook of the lab is looked for in the working folder.
"""

from __future__ import annotations

import ast
import json
import linecache
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["belongs_to", "lab", "notebook", "sentence", "solution"]

HEADING = re.compile(r"^## (?:(\d+)\. )?(.+?)\s*$", re.M)
MAGIC = re.compile(r"^(\s*)(?:%|!).*$", re.M)
LONGEST = 50
_lab = {"id": ""}


def belongs_to(lab: str) -> None:
    """Name the lab that this kernel's notebook belongs to."""
    _lab["id"] = lab


def lab() -> str:
    """Return the lab that this kernel's notebook belongs to; nothing before its setup has run."""
    return _lab["id"]


def sentence(error: BaseException) -> str:
    """Return which cell makes a missing name; nothing for other errors, or when none does."""
    name = getattr(error, "name", None)
    if type(error) is not NameError or not name or not _is_of_a_cell(error.__traceback__, name):
        return ""
    here = _running(error.__traceback__)
    for place, code in _cells(notebook()):
        if name in _made_by(code) and code.strip() != here:
            begins = code.strip().partition("\n")[0][:LONGEST].rstrip()
            return (
                f"`{name}` is made by the cell that begins `{begins}` ({place}), which has not run "
                "to its end since the kernel started. Run that cell, then this one; the menu's "
                "Run > Run All Above Selected Cell runs all cells before this one."
            )
    return ""


def notebook() -> dict[str, Any]:
    """Return the notebook that this kernel runs, as it was last saved; empty when unknown."""
    named = os.environ.get("JPY_SESSION_NAME", "")
    if named.endswith(".ipynb") and (found := _read(Path(named))):
        return found
    begun = f'begin("{_lab["id"]}")'
    for path in sorted(Path.cwd().glob("*.ipynb")) if _lab["id"] else ():
        found = _read(path)
        if any(begun in code for _, code in _cells(found)):
            return found
    return {}


def solution(checkpoint: str) -> str:
    """Return the code that fills in the blank which a checkpoint judges; nothing elsewhere."""
    kept = notebook().get("metadata", {}).get("labs", {}).get("solutions", {})
    return str(kept.get(checkpoint, ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _cells(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the place (`step 3`, `Setup`) and the text of each code cell."""
    place = "at the top"
    for cell in found.get("cells", ()):
        text = "".join(cell.get("source", ""))
        if cell.get("cell_type") == "code":
            yield place, text
        elif heading := HEADING.search(text):
            place = f"step {heading[1]}" if heading[1] else heading[2]


def _made_by(code: str) -> set[str]:
    """Return the names that a cell makes at its top level, within `with`, `for` and `if` too.

    >>> sorted(_made_by("import a.b, c as d\\n%time\\nf, g = 1, 2\\ndef h(i): j = 3"))
    ['a', 'd', 'f', 'g', 'h']
    """
    try:
        tree = ast.parse(MAGIC.sub(r"\1pass", code))
    except SyntaxError:
        return set()
    return set(_names(tree))


def _names(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        elif not isinstance(child, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp):
            yield from _names(child)


def _running(trace: TracebackType | None) -> str:
    """Return the text of the cell that was run."""
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "__main__":
            return "".join(linecache.getlines(trace.tb_frame.f_code.co_filename)).strip()
        trace = trace.tb_next
    return ""


def _is_of_a_cell(trace: TracebackType | None, name: str) -> bool:
    """Tell whether the name is missing among the notebook's own, not inside of a library."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (
        trace is not None
        and trace.tb_frame.f_globals.get("__name__") == "__main__"
        and name not in trace.tb_frame.f_globals
    )
