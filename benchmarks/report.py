"""How a benchmark says what it found: a table for people, a file for the build.

`build/bench/<name>.json` is the last run's. `python -m benchmarks --accept` takes those files into
`accepted.json` and writes the table of README.md from it, the machine's load beside each.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "accept", "page", "read", "save", "show"]

FOLDER = Path(__file__).parents[1] / "build" / "bench"
ACCEPTED = Path(__file__).with_name("accepted.json")
PAGE = Path(__file__).with_name("README.md")
LOAD = os.getloadavg()[0]
"""Programs that wanted a processor when this run began."""


def pace() -> float:
    """Return the milliseconds that a fixed piece of Python takes: how fast the machine is now."""
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        sum(number * number for number in range(300_000))
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1000


BEGUN_AT = pace()
HEAD = """\
# Figures

`make bench NAME=serving` measures one, `make bench` all; each is a ratio against a peer or a limit
in the same run. `python -m benchmarks --accept` writes this page from the last run of each. *Load*
is how many programs wanted one of the two processors when the run began; above 2 it waited. *Pace*
is the milliseconds that a fixed piece of Python took at its begin and end: shared machines change
theirs by the hour, and limits in seconds are meant for 20 ms.

| benchmark | figure | value | goal | met | against | load | pace | on |
|---|---|---|---|---|---|---|---|---|
"""


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
    show(name, figures)
    FOLDER.mkdir(parents=True, exist_ok=True)
    said = {
        "load": round(LOAD, 1),
        "pace": round((BEGUN_AT + pace()) / 2, 1),
        "on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "figures": [dataclasses.asdict(figure) for figure in figures],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a table."""
    table = Table("figure", "value", "goal", "met", "against", title=title)
    for figure in figures:
        met = "[green]yes[/]" if figure.met else "[red]no[/]"
        table.add_row(figure.name, value_of(figure), figure.goal, met, figure.against)
    Console(width=130).print(table)


def value_of(figure: Figure) -> str:
    """Return a figure's value with its unit.

    >>> value_of(Figure("rate", 15773.2, "req/s", "", True, "", 1))
    '15,770 req/s'
    """
    rounded = float(f"{figure.value:.4g}")
    return f"{rounded:,.0f} {figure.unit}" if rounded >= 1000 else f"{rounded:g} {figure.unit}"


def read() -> dict[str, Any]:
    """Return what the last run of each benchmark said."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
    }


def accept(said: Mapping[str, Any]) -> None:
    """Keep these runs as the last accepted ones, and write the page."""
    kept = json.loads(ACCEPTED.read_text("utf-8")) if ACCEPTED.is_file() else {}
    kept = dict(sorted({**kept, **said}.items()))
    ACCEPTED.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(kept), "utf-8")


def page(kept: Mapping[str, Any]) -> str:
    """Return the page of the accepted runs."""
    rows = [
        f"| {name} | {one.name} | {value_of(one)} | {one.goal} | {'yes' if one.met else '**no**'} "
        f"| {one.against} | {run['load']} | {run.get('pace', '')} | {run['on']} |\n"
        for name, run in kept.items()
        for one in (Figure(**figure) for figure in run["figures"])
    ]
    return HEAD + "".join(rows)
