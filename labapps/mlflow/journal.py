"""Who moved which alias of a registered model, when, from which version to which.

MLflow keeps the present aliases only. The names are those that clients give beside the token, as in
the history of a git repository.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Journal", "moves"]

TABLE = """CREATE TABLE IF NOT EXISTS moves (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, who TEXT NOT NULL, name TEXT NOT NULL,
    alias TEXT NOT NULL, before TEXT, after TEXT)"""
MOST = 1000
Aliases = Mapping[tuple[str, str], str]
"""Model and alias, and the version that the alias means."""
Move = tuple[str, str, str | None, str | None]
"""Model, alias, the version before and the one after."""


def moves(before: Aliases, after: Aliases) -> list[Move]:
    """Return what differs.

    >>> moves({("wine", "champion"): "1"}, {("wine", "champion"): "2"})
    [('wine', 'champion', '1', '2')]
    """
    keys = sorted({*before, *after})
    found = [(*key, before.get(key), after.get(key)) for key in keys]
    return [move for move in found if move[2] != move[3]]


class Journal:
    """The moves in a file of their own, beside MLflow's database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(self._open()) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(TABLE)
            self.last = int(database.execute("SELECT max(id) FROM moves").fetchone()[0] or 0)
        self._moved = asyncio.Event()

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None)

    def add(self, who: str, found: list[Move]) -> None:
        """Write moves down, and wake those that wait for one."""
        if not found:
            return
        now = time.time()
        with contextlib.closing(self._open()) as database, database:
            for move in found:
                row = (now, who, *move)
                sql = "INSERT INTO moves (at, who, name, alias, before, after) VALUES (?,?,?,?,?,?)"
                self.last = int(database.execute(sql, row).lastrowid or 0)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def read(self, name: str = "", alias: str = "", after: int = 0) -> list[dict[str, Any]]:
        """Return the newest moves, oldest first."""
        with contextlib.closing(self._open()) as database:
            rows = database.execute(
                "SELECT id, at, who, name, alias, before, after FROM moves WHERE id > ? "
                "AND (? = '' OR name = ?) AND (? = '' OR alias = ?) ORDER BY id DESC LIMIT ?",
                (after, name, name, alias, alias, MOST),
            ).fetchall()
        keys = ("id", "at", "who", "name", "alias", "from", "to")
        return [dict(zip(keys, row, strict=True)) for row in reversed(rows)]

    async def wait(self, after: int, seconds: float) -> None:
        """Wait until there is another last move than `after`, at most some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.last == after:
                    await self._moved.wait()
