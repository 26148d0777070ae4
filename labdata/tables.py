"""The tables of the labs as files: made at any size, or taken from a real file.

`datasets/<name>/<name>.csv` is what a lab reads. `datasets/<name>/truth.json` is what only a check
reads: the best score that is possible on such data, so that "it learned" and "it did not cheat" can
both be told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from labdata import houses, income, loans, wine
from labdata.errors import DataError
from labdata.table import Table, Truth

__all__ = ["TABLES", "best_possible", "read_sample", "take_real", "write_sample"]

Maker = Callable[[int, int, bool], tuple[pd.DataFrame, Truth]]

MODULES = {"wine": wine, "houses": houses, "income": income, "loans": loans}
TABLES: dict[str, Table] = {name: module.TABLE for name, module in MODULES.items()}
ROWS = {name: module.ROWS for name, module in MODULES.items()}
MAKERS: dict[str, Maker] = {
    "wine": lambda rows, seed, bias: wine.make(rows, seed),
    "houses": lambda rows, seed, bias: houses.make(rows, seed),
    "income": income.make,
    "loans": lambda rows, seed, bias: loans.make(rows, seed),
}


def write_sample(
    name: str, folder: Path, rows: int | None = None, seed: int = 7, bias: bool = False
) -> Path:
    """Make a table and its truth below `folder/<name>`; return the file that labs read."""
    if bias and name != "income":
        raise DataError(f"Expected --bias with income only, found it with {name}.")
    rows = ROWS[name] if rows is None else rows
    frame, truth = MAKERS[name](rows, seed, bias)
    path = folder / name / f"{name}.csv"
    TABLES[name].write(frame, path)
    record = {
        "rows": rows,
        "seed": seed,
        "bias": bias,
        "best": {key: round(value, 6) for key, value in truth.best.items()},
    }
    path.with_name("truth.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return path


def take_real(name: str, file: Path, folder: Path) -> Path:
    """Check a real file of this kind and write it where labs read; its best score is unknown."""
    frame = TABLES[name].read(file)
    path = folder / name / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, sep=TABLES[name].separator, index=False, lineterminator="\n")
    record = {"rows": len(frame), "real": file.name, "best": {}}
    path.with_name("truth.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return path


def read_sample(name: str, folder: Path) -> pd.DataFrame:
    """Return the table below this folder, checked; one clear sentence when it does not fit."""
    if name not in TABLES:
        raise DataError(f"Expected one of {', '.join(TABLES)}, found {name!r}.")
    return TABLES[name].read(folder / name / f"{name}.csv")


def best_possible(name: str, folder: Path) -> dict[str, float]:
    """Return the best scores that are possible on the table below this folder; {} for a real one.

    For checks, never for a lab's own cells: who reads this learns nothing from the data.
    """
    record = json.loads((folder / name / "truth.json").read_text("utf-8"))
    return dict(record["best"])
