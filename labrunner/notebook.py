"""Derive the notebook that learners open from the text that authors edit, byte by byte.

Cell ids are a digest of the content, the kernelspec names its language, outputs and pairing
metadata are absent: two builds of the same source are the same file, and a hub without jupytext
opens it. `text_of` goes the other way, for an author who edited the notebook.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labrunner import glossary
from labrunner.curriculum import Curriculum, Lab
from labrunner.source import Cell, read, solution_of, solved, stub_of, write

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NAVIGATION = re.compile(r"\n\n\*\d+ minutes · [^\n]*\*$")
SOLUTION_TAG = "solution"
JUDGES = re.compile(r"^(?:check|quiz)\(", re.M)  # code with hints and answers: shown collapsed


def cells_of(curriculum: Curriculum, lab: Lab, *, solutions: bool = False) -> list[Cell]:
    """Return the cells of a lab as learners get them, or with the exercise solved."""
    cells: list[Cell] = []
    for number, cell in enumerate(_linked(curriculum, lab, read(curriculum.source(lab)))):
        if number == 0:
            cell = Cell(cell.kind, f"{cell.text}\n\n{navigation(curriculum, lab)}", cell.tags)
        if "blank" in cell.tags:
            text, practice = solved(cell.text), stub_of(cell.text)
            cells.append(Cell(cell.kind, text, cell.tags, practice))
            continue
        if "exercise" not in cell.tags:
            cells.append(cell)
            continue
        shown = solved(cell.text) if solutions else stub_of(cell.text)
        cells.append(Cell(cell.kind, shown, cell.tags))
        if solution := solution_of(cell.text):
            cells.append(Cell("markdown", _folded(solution), (SOLUTION_TAG,)))
    return cells


def _linked(curriculum: Curriculum, lab: Lab, cells: list[Cell]) -> list[Cell]:
    """Link the words that a lab explains to the glossary."""
    page = glossary.page_from(curriculum.notebook(lab), curriculum.root)
    prose = [cell.text for cell in cells if cell.kind == "markdown"]
    linked = iter(glossary.link(prose, glossary.terms(curriculum.root), page))
    return [
        Cell(cell.kind, next(linked) if cell.kind == "markdown" else cell.text, cell.tags)
        for cell in cells
    ]


def navigation(curriculum: Curriculum, lab: Lab) -> str:
    """Return the generated line: time, level, previous, next."""
    before, after = curriculum.neighbours(lab)
    here = curriculum.notebook(lab).parent
    parts = [f"{lab.minutes} minutes", lab.level]
    for word, other in (("previous", before), ("next", after)):
        if other is not None:
            link = os.path.relpath(curriculum.notebook(other), here)
            parts.append(f"{word}: [{other.title}]({link})")
    if lab.kind == "page" and (hours := _hours(curriculum)):
        parts.append(f"the workshops: {hours}")
    return f"*{' · '.join(parts)}*"


def _hours(curriculum: Curriculum) -> str:
    """Return how long each workshop takes: the minutes of its labs."""
    sums = {
        one.id: sum(lab.minutes for lab in curriculum.labs_of(one.id))
        for one in curriculum.workshops
    }
    return ", ".join(f"{name} {minutes / 60:.1f} h" for name, minutes in sums.items() if minutes)


def build(curriculum: Curriculum, lab: Lab, *, solutions: bool = False) -> str:
    """Return the text of a lab's .ipynb file."""
    seen: dict[str, int] = {}
    cells = [_json(cell, seen) for cell in cells_of(curriculum, lab, solutions=solutions)]
    notebook = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def text_to_run(curriculum: Curriculum, lab: Lab, *, solutions: bool = False) -> str:
    """Return the notebook to run: the one on disk, or a fresh build where the source is newer.

    Importing jupytext takes a second and a half, which a replay does not spend for nothing.
    """
    built, written = curriculum.notebook(lab), curriculum.source(lab)
    if solutions or not built.is_file() or built.stat().st_mtime < written.stat().st_mtime:
        return build(curriculum, lab, solutions=solutions)
    return built.read_text("utf-8")


def cells_in(text: str) -> list[Cell]:
    """Return the cells of a notebook's text."""
    return [
        Cell(
            raw["cell_type"],
            raw["source"] if isinstance(raw["source"], str) else "".join(raw["source"]),
            tuple(raw["metadata"].get("tags", ())),
        )
        for raw in json.loads(text)["cells"]
    ]


def text_of(notebook: Mapping[str, Any], source: list[Cell]) -> str:
    """Return the percent-format text of an edited notebook.

    What the build adds is taken out again; an exercise keeps the solution of the present source
    unless its stub was edited.
    """
    exercises = {stub_of(cell.text): cell.text for cell in source if "exercise" in cell.tags}
    blanks = {solved(cell.text): cell.text for cell in source if "blank" in cell.tags}
    cells: list[Cell] = []
    for raw in notebook["cells"]:
        tags = tuple(raw.get("metadata", {}).get("tags", ()))
        if SOLUTION_TAG in tags:
            continue
        text = raw["source"] if isinstance(raw["source"], str) else "".join(raw["source"])
        text = NAVIGATION.sub("", text) if not cells else text
        if raw["cell_type"] == "markdown":
            text = glossary.unlink(text)
        if "exercise" in tags:
            text = exercises.get(text, text)
        if "blank" in tags:
            text = blanks.get(text, text)
        if text.strip():
            cells.append(Cell(raw["cell_type"], text.strip("\n"), tags))
    return write(cells)


def is_current(curriculum: Curriculum, lab: Lab) -> bool:
    """Tell whether the notebook on disk is, byte by byte, what the source gives."""
    path = curriculum.notebook(lab)
    return path.is_file() and path.read_bytes() == build(curriculum, lab).encode()


def save(path: Path, text: str) -> bool:
    """Write a file when its content differs; tell whether it did."""
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return True


def _folded(solution: str) -> str:
    return f"<details>\n<summary>A solution</summary>\n\n```python\n{solution}\n```\n\n</details>"


def _metadata(cell: Cell) -> dict[str, Any]:
    made: dict[str, Any] = {"tags": list(cell.tags)} if cell.tags else {}
    if cell.kind == "code" and JUDGES.search(cell.text):
        made["jupyter"] = {"source_hidden": True}
    if cell.practice:
        made["labs"] = {"practice": cell.practice}
    return made


def _json(cell: Cell, seen: dict[str, int]) -> dict[str, Any]:
    digest = hashlib.sha256(f"{cell.kind}\n{cell.text}".encode()).hexdigest()[:12]
    again = seen[digest] = seen.get(digest, 0) + 1
    made: dict[str, Any] = {
        "cell_type": cell.kind,
        "id": digest if again == 1 else f"{digest}-{again}",
        "metadata": _metadata(cell),
        "source": cell.text.splitlines(keepends=True),
    }
    if cell.kind == "code":
        made.update(execution_count=None, outputs=[])
    return made
