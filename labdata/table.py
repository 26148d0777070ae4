"""A table of the labs: its columns, how its file is written, and how a real one is read.

The files look like the public ones (names, order, separator), so a reader who has the real file can
put it in the place of the made-up one. What is wrong with a file is said in one sentence that names
the column and the line; nothing of a bad file is used.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from labdata.errors import DataUnreadable

__all__ = ["Column", "Table", "Truth", "uniform"]

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
MISSING = ("", "NA", "NaN", "nan", "?")


@dataclass(frozen=True)
class Column:
    """A column: its name, and the decimals of its numbers (`None` when it holds text)."""

    name: str
    decimals: int | None = 0


@dataclass(frozen=True)
class Truth:
    """What only the generator knows: how well a model that knew everything would do.

    `signal` is the expected target of each row (its probability, for a yes-or-no target). A model
    that scores better than `best` on many rows has seen what it should not have seen.
    """

    signal: NDArray[np.float64]
    best: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """The shape of a file: columns in order, the target last, and the separator."""

    name: str
    columns: tuple[Column, ...]
    separator: str = ","

    @property
    def names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return [column.name for column in self.columns]

    def tidy(self, values: Mapping[str, object]) -> pd.DataFrame:
        """Return the values as a frame of these columns, numbers rounded as in the file."""
        frame = pd.DataFrame(dict(values), columns=self.names)
        for column in self.columns:
            if column.decimals == 0:
                frame[column.name] = np.rint(frame[column.name]).astype(np.int64)
            elif column.decimals is not None:
                frame[column.name] = frame[column.name].round(column.decimals)
        return frame

    def write(self, frame: pd.DataFrame, path: Path) -> None:
        """Write the frame with a fixed number of decimals: the same rows are the same bytes."""
        text = frame[self.names].astype(object)
        for column in self.columns:
            if column.decimals:
                text[column.name] = [f"{x:.{column.decimals}f}" for x in frame[column.name]]
        path.parent.mkdir(parents=True, exist_ok=True)
        text.to_csv(path, sep=self.separator, index=False, lineterminator="\n")

    def read(self, path: Path) -> pd.DataFrame:
        """Read such a file, made up or real; raise one sentence when it does not fit."""
        header = self._header(path)
        try:
            raw = pd.read_csv(
                path,
                sep=self.separator,
                dtype=str,
                keep_default_na=False,
                names=None if header else self.names,
            )
        except pd.errors.ParserError as error:
            raise DataUnreadable(
                f"{path}: expected {len(self.columns)} columns in each line; {error}."
            ) from error
        if raw.empty:
            raise DataUnreadable(f"{path}: expected rows below the header, found none.")
        frame = raw.rename(columns=str.strip)[self.names]
        return frame.assign(**{c.name: self._parse(path, c, frame[c.name]) for c in self.columns})

    def _header(self, path: Path) -> bool:
        """Return whether the first line names the columns; raise when it names others.

        The public income file has no header: a first line with the right number of values is data.
        """
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline().strip()
        except UnicodeDecodeError as error:
            raise DataUnreadable(
                f"{path}: expected text in UTF-8 with a header line, found other bytes."
            ) from error
        except OSError as error:
            raise DataUnreadable(
                f"{path}: expected a readable file, found: {error.strerror}."
            ) from error
        header = [name.strip() for name in next(csv.reader([first], delimiter=self.separator), [])]
        missing = [name for name in self.names if name not in header]
        if not missing:
            return True
        if len(missing) == len(header) == len(self.names) and not header[0].isidentifier():
            return False
        found = max(SEPARATORS, key=first.count)
        if first.count(found) and found != self.separator and first.count(self.separator) < 2:
            raise DataUnreadable(
                f"{path}: expected columns separated by {SEPARATORS[self.separator]}, found "
                f"{SEPARATORS[found]} in the header. Write it with sep={self.separator!r}."
            )
        raise DataUnreadable(
            f"{path}: expected the column{'s' if len(missing) > 1 else ''} "
            f"{', '.join(map(repr, missing))}, found only {', '.join(map(repr, header))}."
        )

    def _parse(self, path: Path, column: Column, text: pd.Series[str]) -> pd.Series[Any]:
        stripped = text.str.strip()
        if column.decimals is None:
            return stripped
        numbers = pd.to_numeric(stripped, errors="coerce")
        bad = ~np.isfinite(numbers.to_numpy(dtype=float))
        if bad.any():
            row = int(np.argmax(bad))
            value = stripped.iloc[row]
            what = "nothing" if value in MISSING else repr(value)
            where = f"{path}, line {row + 2}"
            raise DataUnreadable(
                f"{where}: expected a number in column {column.name!r}, found {what}."
            )
        whole = column.decimals == 0 and (numbers == np.rint(numbers)).all()
        return numbers.astype(np.int64 if whole else float)


def uniform(seed: int, rows: int, lanes: int) -> NDArray[np.float64]:
    """Return random numbers in (0, 1), made of raw bits: the same with every NumPy."""
    bits = np.random.SFC64([seed, rows, lanes]).random_raw(rows * lanes)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5).reshape(lanes, rows) * 2.0**-53
