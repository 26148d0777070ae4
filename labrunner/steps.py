"""The parts of a notebook: its `## ` sections, and the numbered ones, which are steps."""

from __future__ import annotations

import re
from typing import Any

SECTION = re.compile(r"^## (.+?)\s*$", re.M)
INJECTED = "injected-parameters"  # papermill's tag
STEP = re.compile(r"^## (\d+)\. (.+?)\s*$", re.M)


def cells_in(notebook: Any, sections: set[str]) -> list[Any]:
    """Return the cells below the `## ` headings with these titles."""
    kept, is_inside = [], False
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (heading := SECTION.search(cell.source)):
            is_inside = heading[1] in sections
        if is_inside:
            kept.append(cell)
    return kept


def numbers_of(notebook: Any, without: str = INJECTED) -> dict[str, int]:
    """Return by its id the number of each cell as the learner's notebook counts it.

    A headless run adds a cell of parameters, which no learner has.
    """
    cells = (one for one in notebook.cells if without not in one.metadata.get("tags", ()))
    return {cell.id: number for number, cell in enumerate(cells, start=1)}


def steps_of(notebook: Any) -> dict[int, tuple[int, str]]:
    """Return the step, by number and title, that each cell belongs to; 0 outside of steps."""
    found: dict[int, tuple[int, str]] = {-1: (0, "")}
    current = (0, "")
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            if match := STEP.search(cell.source):
                current = (int(match[1]), match[2])
            elif cell.source.startswith("## "):
                current = (0, "")
        found[index] = current
    return found
