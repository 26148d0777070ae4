"""Batch scoring: a build's function on each row of a table, as a job.

`python -m labapps.workbench.batch <digest> <file:function> <input> <output>` reads .csv, .parquet
or .jsonl of the project and writes .csv or .jsonl: the columns of the input, `prediction`, and
`error` where the function refused a row. The output appears as a whole, at the end; one row that
failed makes the run fail, for a table that looks complete and is not is worse than none.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labapps.workbench import replica, track
from labapps.workbench.function import load
from labapps.workbench.layout import Layout

__all__ = ["score"]

ROWS = 10_000
Row = dict[str, Any]


def rows_of(path: Path) -> Iterator[Row]:
    """Read a table piece by piece."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(ROWS):
            yield from batch.to_pylist()
    elif path.suffix == ".csv":
        import pandas

        with pandas.read_csv(path, chunksize=ROWS) as pieces:
            for piece in pieces:
                clean = piece.astype(object).where(piece.notna(), None)
                yield from clean.to_dict("records")
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    else:
        raise SystemExit(f"The input must be .csv, .parquet or .jsonl; found {path.name}.")


def score(function: Any, rows: Iterator[Row], output: Path) -> tuple[int, int]:
    """Write the rows with their predictions; return how many there were, and how many failed."""
    if output.suffix not in (".csv", ".jsonl"):
        raise SystemExit(f"The output must be .csv or .jsonl; found {output.name}.")
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    count = failed = 0
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer: Any = None
        for row in rows:
            count += 1
            answer = replica.ask(function, row)
            found = json.loads(answer.body)
            whole = row | {"prediction": found.get("prediction"), "error": found.get("error", "")}
            failed += answer.status != 200
            if output.suffix == ".jsonl":
                file.write(json.dumps(whole, default=str) + "\n")
                continue
            if isinstance(whole["prediction"], dict | list):
                whole["prediction"] = json.dumps(whole["prediction"])
            if writer is None:
                writer = csv.DictWriter(file, list(whole))
                writer.writeheader()
            writer.writerow(whole)
    os.replace(draft, output)
    return count, failed


def main() -> None:
    digest, target, *places = sys.argv[1:]
    if len(places) != 2:
        sys.exit('arguments must name two files: "<input> <output>", such as "in.csv out.csv".')
    source, output = (Path(place).resolve() for place in places)
    began, folder = time.monotonic(), Layout.from_env().build(digest)
    os.chdir(folder)
    count, failed = score(load(folder, target), rows_of(source), output)
    seconds = round(time.monotonic() - began, 3)
    for name, value in (("rows", count), ("failed", failed), ("build", digest),
                        ("seconds", seconds)):  # fmt: skip
        track.publish(name, value)
    print(f"{count} rows, {failed} failed, {seconds} s: {places[1]}")
    if failed:
        sys.exit(f"{failed} of {count} rows failed; the column error of {places[1]} says why.")


if __name__ == "__main__":
    main()
