"""A job's folder on the project repository: its code, its results, its record.

`jobs/<engine>/<n>/` is the job's working folder, so what it writes beside itself lands there.
`code.py` is the program as it was submitted; `code_digest` in `job.json` is its sha256.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path

from labapps import files
from labapps.queue.job import Job
from labapps.queue.store import Store

__all__ = ["Records"]

log = logging.getLogger(__name__)


class Records:
    """The folders of all jobs of this engine, and their output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, number: int) -> Path:
        return self.folder / str(number)

    def create(self, job: Job, code: str) -> None:
        """Make the folder of a new job."""
        folder = self.of(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "code.py").write_text(code, encoding="utf-8")
        self.write(job)

    def write(self, job: Job) -> None:
        """Write the record of a job, whole or not at all."""
        text = json.dumps(dataclasses.asdict(job), indent=1)
        try:
            files.replace(self.of(job.id) / "job.json", text)
        except OSError as error:
            log.error("The record of job %d was not written: %s", job.id, error)

    def append(self, number: int, stream: str, offset: int, text: str) -> None:
        """Write output (a byte a character) at its place; one that came before changes nothing."""
        path = self.of(number) / f"{stream}.txt"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(fd, text.encode("latin-1"), offset)
        finally:
            os.close(fd)

    def output(self, number: int, stream: str, offset: int = 0, limit: int = 4 << 20) -> bytes:
        """Return what a job printed, the last part when it is very much."""
        try:
            with (self.of(number) / f"{stream}.txt").open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(offset or max(0, size - limit))
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def clear_output(self, number: int) -> None:
        """Forget the output of an attempt that is made again."""
        for stream in ("stdout", "stderr"):
            (self.of(number) / f"{stream}.txt").unlink(missing_ok=True)

    def restore(self, store: Store) -> int:
        """Fill an empty store from the records; return how many there were.

        What ran may still run: its worker will tell.
        """
        numbers = sorted(int(p.name) for p in self.folder.glob("*") if p.name.isdigit())
        count = 0
        for number in numbers:
            try:
                job = Job(**json.loads((self.of(number) / "job.json").read_text("utf-8")))
            except (OSError, ValueError, TypeError) as error:
                log.error("The record of job %d is unreadable: %s", number, error)
                continue
            store.restore(job)
            count += 1
        return count
