"""The SQLite file: opening, checking, loading, and the thread that commits batches of changes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

from labsandbox.apiserver.store.witness import Witness

Row = tuple[int, str, str, str, int, bytes]
"""revision, bucket, namespace, name, kind of change, body."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS history (
    revision INTEGER PRIMARY KEY,
    bucket TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    change INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_CHECKED_SIZE = 256 * 1024 * 1024


class DatabaseError(Exception):
    """The state file cannot be used; the message says what was found and what to do."""


class Database:
    """One connection for loading at start, then owned by the committing thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.witness = Witness(path)
        try:
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=2
            )
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def _damaged(self, error: Exception) -> DatabaseError:
        if "locked" in str(error):
            return DatabaseError(
                f"Expected to be the only server of {self.path}, but another process holds it. "
                "Stop that server, or start this one with another --state folder."
            )
        return DatabaseError(
            f"Expected the platform's state in {self.path}, but it cannot be read ({error}). "
            "Restore the file from a copy, or move it away (with its -wal file) to start empty."
        )

    def _prepare(self) -> None:
        run = self._connection.execute
        if self.path.exists() and 0 < self.path.stat().st_size < _CHECKED_SIZE:
            found = run("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA cache_size=-2000")
        run("PRAGMA locking_mode=EXCLUSIVE")
        self._connection.executescript(_SCHEMA)

    def load(self) -> Iterator[Row]:
        """All rows of the history, oldest first."""
        query = "SELECT revision, bucket, namespace, name, change, body FROM history ORDER BY 1"
        try:
            yield from self._connection.execute(query)
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def number(self, name: str) -> int:
        found = self._connection.execute("SELECT value FROM numbers WHERE name=?", (name,))
        row = found.fetchone()
        return int(row[0]) if row else 0

    def start(self) -> None:
        """Start the committing thread; from now on only it uses the connection."""
        self._thread = threading.Thread(target=self._work, name="commit", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job()
        self._end()

    def _end(self) -> None:
        self.witness.note(self._last(), at_once=True)
        self.witness.save_copy(self._connection)
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _last(self) -> int:
        """The highest revision on disk, also when its row has been cut from the history."""
        with contextlib.suppress(sqlite3.Error):
            row = self._connection.execute("SELECT MAX(revision) FROM history").fetchone()
            return max(int(row[0] or 0), self.number("revision"))
        return 0

    def copy(self) -> None:
        """Make a copy to go back to, on the committing thread."""
        self._queue.put(lambda: self.witness.save_copy(self._connection))

    def run(
        self,
        job: Callable[[sqlite3.Connection], None],
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Exception | None], None],
    ) -> None:
        """Run `job` in one transaction on the committing thread, then call `done` on `loop`."""

        def work() -> None:
            error = self._transact(job)
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is waiting
                loop.call_soon_threadsafe(done, error)

        self._queue.put(work)

    def _transact(self, job: Callable[[sqlite3.Connection], None]) -> Exception | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            job(self._connection)
            self._connection.execute("COMMIT")
            self.witness.note(self._last())
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            return error
        return None

    def close(self) -> None:
        """Finish what is queued and close the file."""
        if self._thread is None:
            self._connection.close()
            return
        self._queue.put(None)
        self._thread.join()
        self._thread = None


def insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    connection.executemany("INSERT INTO history VALUES (?,?,?,?,?,?)", rows)


def forget(connection: sqlite3.Connection, revisions: list[int], numbers: dict[str, int]) -> None:
    """Delete superseded rows and remember how far the log was cut."""
    connection.executemany("DELETE FROM history WHERE revision=?", ((r,) for r in revisions))
    connection.executemany("INSERT OR REPLACE INTO numbers VALUES (?,?)", list(numbers.items()))
