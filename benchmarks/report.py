"""How a benchmark says what it found: a table for people, a file for the build."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "save"]

FOLDER = Path(__file__).parents[1] / "build" / "bench"


@dataclass(frozen=True)
class Figure:
    """One measured value and what it was meant to be."""

    name: str
    value: float
    unit: str
    goal: str
    met: bool
    against: str
    rounds: int


def save(name: str, figures: Sequence[Figure]) -> None:
    """Print the table and write build/bench/<name>.json."""
    table = Table("figure", "value", "goal", "met", "against", title=name)
    for figure in figures:
        value = f"{figure.value:.4g} {figure.unit}"
        met = "[green]yes[/]" if figure.met else "[red]no[/]"
        table.add_row(figure.name, value, figure.goal, met, figure.against)
    Console(width=130).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = [dataclasses.asdict(figure) for figure in figures]
    (FOLDER / f"{name}.json").write_text(json.dumps(lines, indent=1) + "\n")
