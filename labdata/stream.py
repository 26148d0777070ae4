"""Data that arrive in parts, and what a crash does to a stream that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

__all__ = ["deliveries", "tear_last_page"]


def tear_last_page(notes: Path) -> None:
    """Remove the last page of a stream's notes, as a crash before the noting would."""
    pages = notes / "commits"
    last = max((page for page in pages.glob("[0-9]*")), key=lambda page: int(page.name))
    last.unlink()
    (pages / f".{last.name}.crc").unlink(missing_ok=True)  # its checksum


def deliveries(file: Path, folder: Path, parts: int) -> Iterator[int]:
    """Let the next part of a file arrive in a folder, each time one asks; give its rows.

    A file appears whole: it is written under a hidden name and then renamed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = pyarrow.parquet.ParquetFile(file)
    rows = -(-source.metadata.num_rows // parts) or 1
    for number, batch in enumerate(source.iter_batches(rows), 1):
        hidden = folder / f".{number}"
        pyarrow.parquet.write_table(pa.Table.from_batches([batch]), hidden)
        hidden.replace(folder / f"delivery-{number:03}.parquet")
        yield batch.num_rows
