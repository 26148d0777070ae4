"""One lab, read and cut into its sections, for the rules to look at."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from labrunner import source
from labrunner.curriculum import Curriculum, Lab
from labrunner.errors import BadSource
from labrunner.notebook import cells_of
from labrunner.source import Cell
from labrunner.steps import SECTION
from labrunner.workshop import Workshop

MAGIC = re.compile(r"^\s*[%!]")
CELL_MAGIC = re.compile(r"^%%(\w+)")


@dataclass(frozen=True)
class Section:
    """A `## ` heading and the cells below it."""

    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Draft:
    """A lab as its rules see it."""

    lab: Lab
    root: Path
    folder: Path
    cells: tuple[Cell, ...]  # as a learner gets them
    written: tuple[Cell, ...]  # as the author wrote them
    sections: tuple[Section, ...]
    workshop: Workshop | None = None

    @property
    def is_lab(self) -> bool:
        """Tell a lab from a page such as the start."""
        return self.lab.kind == "lab"

    @property
    def code(self) -> list[Cell]:
        """Return the code cells."""
        return [cell for cell in self.cells if cell.kind == "code"]

    @property
    def prose(self) -> list[Cell]:
        """Return the text cells, folded solutions left out."""
        return [
            cell for cell in self.cells if cell.kind == "markdown" and "solution" not in cell.tags
        ]

    def limit(self, name: str, usual: tuple[int, int]) -> tuple[int, int]:
        """Return the least and the most of something: the workshop's, or what is usual."""
        return self.workshop.limit(name, usual) if self.workshop else usual

    def section(self, title: str) -> Section | None:
        """Return the section of this title."""
        return next((found for found in self.sections if found.title == title), None)

    def steps(self) -> list[Section]:
        """Return the numbered sections."""
        return [found for found in self.sections if re.match(r"\d+\. ", found.title)]


def read(curriculum: Curriculum, lab: Lab) -> Draft:
    """Read a lab for its rules."""
    path = curriculum.source(lab)
    cells = tuple(cells_of(curriculum, lab))
    return Draft(
        lab,
        curriculum.root,
        curriculum.notebook(lab).parent,
        cells,
        tuple(source.read(path)),
        tuple(_sections(cells)),
        next((one for one in curriculum.workshops if one.id == lab.workshop), None),
    )


def code_lines(text: str) -> list[str]:
    """Return the lines of a cell that are neither empty nor comments.

    >>> code_lines("# why\\nx = 1\\n\\ny = 2  # and this")
    ['x = 1', 'y = 2  # and this']
    """
    return [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def taught_lines(text: str) -> list[str]:
    """Return the code lines of a cell without its checkpoints and questions, which are prose.

    >>> taught_lines("x = 1\\ncheck('One is one',\\n      x == 1)")
    ['x = 1']
    """
    lines = text.splitlines()
    for node in _spoken(text):
        for at in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[at] = ""
    return code_lines("\n".join(lines))


def spoken_words(text: str) -> list[str]:
    """Return the words that a cell's checkpoints and questions say to the learner.

    >>> spoken_words("x = 'not this'\\ncheck('One is one', x == 1)")
    ['One', 'is', 'one']
    """
    return [
        word
        for call in _spoken(text)
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in words(node.value)
    ]


def _spoken(text: str) -> list[ast.stmt]:
    """Return the statements of a cell that call check or quiz."""
    return [
        node
        for node in python_of(text).body
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) in ("check", "quiz")
    ]


def python_of(text: str) -> ast.Module:
    """Parse a code cell without its magics; raise BadSource where it is no Python."""
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    magic = CELL_MAGIC.match(first)
    if magic and magic[1] not in ("time", "timeit", "capture"):
        return ast.Module([], [])
    lines = ["pass" if MAGIC.match(line) else line for line in text.splitlines()]
    indented = [_keep_indent(old, new) for old, new in zip(text.splitlines(), lines, strict=True)]
    try:
        return ast.parse("\n".join(indented))
    except SyntaxError as error:
        raise BadSource(
            f"Expected Python in a cell, found line {error.lineno}: {error.msg}."
        ) from error


def words(text: str) -> list[str]:
    """Return the words of a text cell: no code, no tables' rulers, no link targets, no markup."""
    text = re.sub(r"```.*?```", " ", text, flags=re.S)
    text = re.sub(r"<[^>]+>", " ", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.findall(r"[A-Za-z][\w'’-]*", re.sub(r"`[^`]*`", "word", text))


def _keep_indent(old: str, new: str) -> str:
    return old[: len(old) - len(old.lstrip())] + new if new == "pass" else new


def _sections(cells: tuple[Cell, ...]) -> list[Section]:
    found: list[tuple[str, list[Cell]]] = []
    for cell in cells:
        heading = SECTION.search(cell.text) if cell.kind == "markdown" else None
        if heading:
            found.append((heading[1], []))
        if found:
            found[-1][1].append(cell)
    return [Section(title, tuple(inside)) for title, inside in found]
