"""What `labs lab` has open: one JupyterLab for each learner, and what a killed one left behind.

A locked file says that one is open, a record beside it says where. The lock ends with its
process, whatever ends that; a record without a lock is of one that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from labrunner import files
from labrunner.errors import LabError

ENDS_WITHIN = 20.0  # seconds that a JupyterLab whose starter was killed needs to end its kernels


class AlreadyOpen(LabError):
    """This learner's JupyterLab is open."""

    def __init__(self, record: Record) -> None:
        self.address = record.address
        where = f" at\n  {record.address}" if record.address else "; it is still starting."
        super().__init__(f"JupyterLab is open already, by process {record.pid}{where}")


@dataclass(frozen=True)
class Record:
    """Who has JupyterLab open, where, and whether a sandbox ends with it."""

    pid: int = 0
    address: str = ""
    jupyter: int = 0
    has_sandbox: bool = False


class Desk:
    """The folder in which the record, and the words of the programs, are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = Record()
        self._writing = threading.Lock()

    @property
    def log(self) -> Path:
        """Return the file with JupyterLab's own words."""
        return self.folder / "jupyter.log"

    @property
    def sandbox_log(self) -> Path:
        """Return the file with the sandbox's own words."""
        return self.folder / "sandbox.log"

    def note(self, **changes: object) -> None:
        """Change the record; it holds a token, so nobody else may read it."""
        with self._writing:
            self.record = replace(self.record, **changes)  # type: ignore[arg-type]
            files.replace(self.folder / "lab.json", json.dumps(asdict(self.record)), 0o600)


def private(name: str, flags: int) -> int:
    """Open a file that is its owner's alone: an address with a token stands in it."""
    return os.open(name, flags, 0o600)


def read(folder: Path) -> Record:
    """Return the record in a folder; an empty one when there is none."""
    try:
        found = json.loads((folder / "lab.json").read_text("utf-8"))
        return Record(**found)
    except (OSError, ValueError, TypeError):
        return Record()


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[tuple[Desk, Record]]:
    """Be the only one; give the desk, and the record of one before that was killed."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = open(folder / "lock", "w", opener=private)  # noqa: SIM115 - held until the end
    except OSError as error:
        raise LabError(
            f"Expected a folder to write to at {folder}, found: {error.strerror or error}. "
            "Set LABS_HOME to another folder."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyOpen(read(folder)) from error
        except OSError:  # a home that knows no locks: then nobody is kept out
            pass
        desk, before = Desk(folder), read(folder)
        desk.note(pid=os.getpid())
        try:
            yield desk, before
        finally:
            (folder / "lab.json").unlink(missing_ok=True)


def end_jupyter(record: Record) -> None:
    """Wait for the JupyterLab of one that was killed; it is ending already, or is ended now."""
    try:
        process = psutil.Process(record.jupyter)
        if "labpanel" not in process.cmdline():
            return  # the number belongs to somebody else by now
        process.terminate()
        process.wait(ENDS_WITHIN)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.Error:
        return
