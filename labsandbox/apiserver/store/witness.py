"""Notice that a part of the state is missing, and keep a copy to go back to.

SQLite reads a write-ahead log up to the first page that is damaged and says nothing about the rest:
with a damaged head a whole history is gone. So the last revision is also written beside the
database, and a start that finds less than that is refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

from labsandbox import files

_SECONDS = 1.0


class Witness:
    """The last known revision of a database, and its last copy."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.file = database.with_name(database.name + "-revision")
        self.copy = database.with_name(database.name + "-copy")
        self._noted = 0
        self._when = 0.0

    @property
    def revision(self) -> int:
        """The revision that was on disk for certain; 0 when nothing is known."""
        try:
            text = self.file.read_text("ascii").strip()
        except (OSError, ValueError):
            return 0
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0

    def note(self, revision: int, *, at_once: bool = False) -> None:
        """Write down a committed revision, at most once a second."""
        now = time.monotonic()
        if revision <= self._noted or (now - self._when < _SECONDS and not at_once):
            return
        self._noted, self._when = revision, now
        with contextlib.suppress(OSError):  # a full disk is told by the database itself
            files.replace(self.file, f"{revision}\n")

    def save_copy(self, connection: sqlite3.Connection) -> None:
        """Copy the whole database; the copy is there as a whole or not at all."""
        fresh = self.copy.with_name(self.copy.name + ".new")
        with contextlib.suppress(OSError, sqlite3.Error):
            fresh.unlink(missing_ok=True)
            os.close(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
            target = sqlite3.connect(fresh)
            try:
                connection.backup(target)
            finally:
                target.close()
            os.replace(fresh, self.copy)

    def complaint(self, found: int) -> str:
        """What to tell about a database that holds less than was written; "" when it does not."""
        known = self.revision
        if found >= known:
            return ""
        place = self._database
        text = (
            f"Expected the platform's state in {place} up to revision {known}, found it up to "
            f"{found}: its write-ahead log is damaged or was removed, and what came after is "
            "missing. "
        )
        if self.copy.exists():
            made = datetime.fromtimestamp(self.copy.stat().st_mtime, UTC)
            text += (
                f"The last copy is of {made:%Y-%m-%d %H:%M} UTC. To go back to it: "
                f"rm -f {place}-wal {place}-shm {self.file} && cp {self.copy} {place}. "
            )
        return text + f"To go on with what is there: rm {self.file}"
