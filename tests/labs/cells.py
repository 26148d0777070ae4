"""The code of a lab's cells, by how they begin."""

from __future__ import annotations

import jupytext

__all__ = ["code_of"]


def code_of(source: str, start: str) -> str:
    """Return the one code cell that begins with these words."""
    cells = jupytext.reads(source, fmt="py:percent").cells
    found = [
        cell.source for cell in cells if cell.cell_type == "code" and cell.source.startswith(start)
    ]
    assert len(found) == 1, f"{len(found)} cells begin {start!r}"
    return str(found[0])
