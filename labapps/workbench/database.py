"""Where records and metrics are kept: a file of SQLite, or PostgreSQL by URL.

Both are asked with the same statements, `?` for a value. What differs is said here once: how a
field of the JSON is read, compared and sorted. A statement outside a transaction is repeated once
when PostgreSQL was restarted in between, so each of them must be safe to repeat.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Database", "DatabaseGone", "connect", "is_url"]

log = logging.getLogger(__name__)
Values = Sequence[Any]
LOCK = 0x776F726B
"""A workbench holds this lock of its database: two would start runs twice."""
LOCK_SECONDS, CONNECT_SECONDS, PAUSE = 120.0, 5, 1.0


class DatabaseGone(OSError):
    """PostgreSQL does not answer; nothing was stored.

    OSError
    └── DatabaseGone
    """


class Database(Protocol):
    """What the records and the metrics ask of a database."""

    serial: str
    """The type of a column that numbers rows."""

    def script(self, text: str) -> None:
        """Make tables and indexes."""

    def execute(self, sql: str, values: Values = ()) -> int:
        """Run a statement; return how many rows it changed."""

    def many(self, sql: str, rows: Sequence[Values]) -> None:
        """Run a statement for each row, all in one transaction and never in another one's."""

    def rows(self, sql: str, values: Values = ()) -> list[Any]:
        """Return the rows of a query."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that follows, or nothing of it."""

    def field(self, name: str, body: str = "body") -> str:
        """Return the expression of a field that is a text."""

    def text(self, name: str) -> str:
        """Return the expression of any field as a text; a truth value is 1 or 0."""

    def order(self, name: str, *, down: bool) -> str:
        """Return what sorts by a field; what lacks it comes first, and last on the way down."""

    def has_key(self, name: str, body: str) -> str:
        """Return the condition that an object has the key `?`."""

    def encode(self, value: Any) -> str:
        """Return JSON as this database takes it."""

    def close(self) -> None:
        """Close the connection."""


def is_url(place: str | Path) -> bool:
    """Tell whether a place is a database server."""
    return isinstance(place, str) and place.startswith(("postgresql://", "postgres://"))


def connect(place: str | Path, *, alone: bool = False) -> Database:
    """Open a file of SQLite, or a PostgreSQL by its URL; `alone` lets no other workbench in."""
    if isinstance(place, Path):
        return Sqlite(place)
    if not is_url(place):
        raise SystemExit(
            "WORKBENCH_DATABASE must be a URL such as postgresql://user@host:5432/workbench; leave "
            "it out for SQLite on the project repository."
        )
    return Postgres(place, alone=alone)


class Sqlite:
    """A file. The write-ahead log is synchronised at each commit."""

    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.base.execute("PRAGMA journal_mode=WAL")
        self.base.execute("PRAGMA synchronous=FULL")
        self.guard = threading.RLock()  # what one thread writes joins no other's transaction

    def script(self, text: str) -> None:
        self.base.executescript(text)

    def execute(self, sql: str, values: Values = ()) -> int:
        with self.guard:
            return self.base.execute(sql, values).rowcount

    def many(self, sql: str, rows: Sequence[Values]) -> None:
        with self.transaction():
            self.base.executemany(sql, rows)

    def rows(self, sql: str, values: Values = ()) -> list[Any]:
        with self.guard:
            return self.base.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.guard:
            self.base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.base.execute("ROLLBACK")
                raise
            self.base.execute("COMMIT")

    def field(self, name: str, body: str = "body") -> str:
        return f"json_extract({body}, '$.{name}')"

    def text(self, name: str) -> str:
        return f"CAST({self.field(name)} AS TEXT)"

    def order(self, name: str, *, down: bool) -> str:
        return f"{self.field(name)} {'DESC' if down else 'ASC'}"

    def has_key(self, name: str, body: str) -> str:
        return f"EXISTS (SELECT 1 FROM json_each({body}, '$.{name}') WHERE key=?)"

    def encode(self, value: Any) -> str:
        return json.dumps(value)

    def close(self) -> None:
        self.base.close()


class Postgres:
    """One connection, asked by one thread at a time; opened anew when it is lost."""

    serial = "BIGSERIAL PRIMARY KEY"

    def __init__(self, url: str, *, alone: bool, patience: float = LOCK_SECONDS) -> None:
        self.url, self.alone, self.guard = url, alone, threading.RLock()
        self.is_inside = False
        self.not_before = 0.0
        self.base: Any = None
        self._open(patience)

    def _open(self, patience: float) -> None:
        """Connect, and make sure that no other workbench uses the database."""
        import psycopg  # 90 ms, and only a workbench on PostgreSQL needs it

        if time.monotonic() < self.not_before:
            raise DatabaseGone("PostgreSQL does not answer; the next attempt is made in a second.")
        try:
            base = psycopg.connect(self.url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        except psycopg.OperationalError as error:
            self.not_before = time.monotonic() + PAUSE
            # The message names host and reason, never the password.
            raise DatabaseGone(f"PostgreSQL does not answer: {str(error).strip()}") from error
        end = time.monotonic() + patience
        sql = "SELECT 1 WHERE pg_try_advisory_lock(%s)"
        while self.alone and base.execute(sql, (LOCK,)).fetchone() is None:
            if time.monotonic() > end:
                base.close()
                raise DatabaseGone(
                    "Another workbench uses this database. Stop it, or give this one a database of "
                    "its own in WORKBENCH_DATABASE."
                )
            time.sleep(0.2)
        self.base = base

    def script(self, text: str) -> None:
        with self.guard:
            self.base.execute(text.replace(" body TEXT", " body JSONB"))

    def execute(self, sql: str, values: Values = ()) -> int:
        return int(self._ask(sql, values).rowcount)

    def rows(self, sql: str, values: Values = ()) -> list[Any]:
        with self.guard:
            found: list[Any] = self._ask(sql, values).fetchall()
            return found

    def many(self, sql: str, rows: Sequence[Values]) -> None:
        self._repeat(lambda: self._many(translate(sql), rows))

    def _many(self, sql: str, rows: Sequence[Values]) -> None:
        with self.base.transaction(), self.base.cursor() as cursor:
            cursor.executemany(sql, rows)

    def _ask(self, sql: str, values: Values) -> Any:
        words = translate(sql)
        return self._repeat(lambda: self.base.execute(words, values))

    def _repeat(self, act: Any) -> Any:
        """Do it; when the connection is lost, once more on a new one."""
        import psycopg

        with self.guard:
            for is_last in (self.is_inside, True):
                try:
                    if self.base.closed:
                        self._open(PAUSE)
                    return act()
                except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                    if not self.base.closed:
                        raise
                    log.warning("the connection to PostgreSQL is lost: %s", error)
                    if is_last:
                        raise DatabaseGone(f"PostgreSQL went away: {error}") from error
        raise AssertionError("unreachable")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        import psycopg

        with self.guard:
            self._ask("SELECT 1", ())  # on a new connection, if the old one is lost
            try:
                with self.base.transaction():
                    self.is_inside = True
                    try:
                        yield
                    finally:
                        self.is_inside = False
            except psycopg.OperationalError as error:
                raise DatabaseGone(f"PostgreSQL went away: {error}") from error

    def field(self, name: str, body: str = "body") -> str:
        return f"({body} #>> '{_path(name)}')"

    def text(self, name: str) -> str:
        return (
            f"(CASE body #> '{_path(name)}' WHEN 'true'::jsonb THEN '1' WHEN 'false'::jsonb "
            f"THEN '0' ELSE {self.field(name)} END)"
        )

    def order(self, name: str, *, down: bool) -> str:
        return f"(body #> '{_path(name)}') {'DESC NULLS LAST' if down else 'ASC NULLS FIRST'}"

    def has_key(self, name: str, body: str) -> str:
        return f"jsonb_exists({body} -> '{name}', ?)"

    def encode(self, value: Any) -> str:
        text = json.dumps(value)
        # PostgreSQL's JSON holds neither NUL nor half of a pair.
        return json.dumps(plain(value)) if SPECIAL.search(text) else text

    def close(self) -> None:
        self.base.close()


def _path(name: str) -> str:
    return "{" + name.replace(".", ",") + "}"


SPECIAL = re.compile(r"\\u(0000|d[89a-f])")


def translate(sql: str) -> str:
    """Return a statement with the marks of psycopg.

    >>> translate("SELECT body FROM records WHERE id=? AND name LIKE '%'")
    "SELECT body FROM records WHERE id=%s AND name LIKE '%%'"
    """
    return sql.replace("%", "%%").replace("?", "%s")


def plain(value: Any) -> Any:
    r"""Return a value without what JSON may hold and PostgreSQL may not.

    >>> plain({"a\0": ["\ud800"]})
    {'a�': ['�']}
    """
    if isinstance(value, str):
        return "".join("�" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {plain(name): plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value
