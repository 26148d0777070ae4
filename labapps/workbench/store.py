"""Records in a database: a kind, an id, a parent, and the fields as JSON.

What was acknowledged survives a kill -9: each commit is on the disk.
Filters, sorting and paging are SQL on the JSON, so ten thousand runs cost no more memory than a
page of them.
"""

from __future__ import annotations

import datetime
import json
import secrets
import string
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from labapps.workbench.database import connect
from labapps.workbench.page import Page

__all__ = ["Record", "Store", "moment_of", "now", "short_id"]

Record = dict[str, Any]

TABLE = """
CREATE TABLE IF NOT EXISTS records (
    seq {serial},
    kind TEXT NOT NULL, id TEXT NOT NULL, parent TEXT NOT NULL, body TEXT NOT NULL,
    live INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS by_parent ON records (kind, parent, seq);
CREATE INDEX IF NOT EXISTS by_live ON records (live, kind, seq) WHERE live = 1;
CREATE INDEX IF NOT EXISTS by_cause ON records (kind, {cause});
CREATE INDEX IF NOT EXISTS by_type ON records (kind, {type});
CREATE INDEX IF NOT EXISTS by_created ON records (kind, parent, {created}, seq);
CREATE INDEX IF NOT EXISTS by_status ON records (kind, parent, {status}, seq);
"""
PROJECT = "(SELECT p.body FROM records p WHERE p.kind='project' AND p.id=records.parent)"
LETTERS = string.ascii_lowercase + string.digits


def now() -> str:
    """Return the present moment as the API writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(milliseconds: Any) -> str:
    """Return a moment of MLflow as the API writes it."""
    seconds = int(milliseconds or 0) / 1000
    found = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return found.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short_id() -> str:
    """Return a new id of the form xxxx-xxxx-xxxx-xxxx."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(4))


class Store:
    """All records of a workbench; `live` marks those that a controller has to look at."""

    def __init__(self, place: Path | str) -> None:
        self.base = connect(place, alone=True)
        of = self.base
        self.base.script(
            TABLE.format(
                serial=of.serial,
                cause=of.field("parent_run_id"),
                type=of.field("type"),
                created=of.order("created_at", down=False),
                status=of.text("status"),
            )
        )

    def close(self) -> None:
        self.base.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Write all that follows, or nothing of it."""
        return self.base.transaction()

    def add(self, kind: str, parent: str, record: Record, *, live: bool = False) -> bool:
        """Store a new record; return whether its id was not there before."""
        sql = "INSERT INTO records (kind, id, parent, body, live) VALUES (?, ?, ?, ?, ?)"
        values = (kind, record["id"], parent, self.base.encode(record), int(live))
        return self.base.execute(f"{sql} ON CONFLICT DO NOTHING", values) == 1

    def get(self, kind: str, number: str) -> Record | None:
        return next(iter(self._select("WHERE kind=? AND id=?", [kind, number])), None)

    def put(self, kind: str, record: Record, *, live: bool = False) -> None:
        """Replace a record."""
        self.base.execute(
            "UPDATE records SET body=?, live=? WHERE kind=? AND id=?",
            (self.base.encode(record), int(live), kind, record["id"]),
        )

    def delete(self, kind: str, number: str) -> None:
        self.base.execute("DELETE FROM records WHERE kind=? AND id=?", (kind, number))

    def find(self, kind: str, parent: str | None = None, **fields: str) -> list[Record]:
        """Return the records with these fields, oldest first."""
        words, values = ["kind=?"], [kind]
        if parent is not None:
            words.append("parent=?")
            values.append(parent)
        for name, value in fields.items():
            words.append(f"{self.base.field(name)}=?")
            values.append(value)
        return self._select(f"WHERE {' AND '.join(words)} ORDER BY seq", values)

    def newest(self, kind: str, parent: str, count: int) -> list[Record]:
        """Return the newest records below a parent, the newest first."""
        return self._select("WHERE kind=? AND parent=? ORDER BY seq DESC LIMIT ?",
                            [kind, parent, count])  # fmt: skip

    def live(self, kind: str) -> list[Record]:
        """Return the records that a controller has to look at."""
        return self._select("WHERE live=1 AND kind=? ORDER BY seq", [kind])

    def page(
        self, kind: str, parent: str | None, page: Page, reader: str | None = None
    ) -> tuple[list[Record], str]:
        """Return a page of records and the token of the next one; only what a reader may see."""
        words, values = page.where(self.base)
        if reader is not None:
            words.append(self._seen("body" if kind == "project" else PROJECT))
            values += [reader, reader]
        words.insert(0, "kind=?")
        values.insert(0, kind)
        if parent is not None:
            words.insert(1, "parent=?")
            values.insert(1, parent)
        limits = [page.size + 1, page.offset]
        sql = f"WHERE {' AND '.join(words)} ORDER BY {page.order(self.base)} LIMIT ? OFFSET ?"
        found = self._select(sql, [*values, *limits])
        more = len(found) > page.size
        return found[: page.size], page.token(page.offset + page.size) if more else ""

    def _seen(self, project: str) -> str:
        """Return which projects a reader sees; `bench.permission` says the same of one project."""
        base = self.base
        return (
            f"({base.field('owner.username', project)}=? OR "
            f"{base.field('visibility', project)}='public' OR "
            f"{base.has_key('collaborators', project)})"
        )

    def _select(self, where: str, values: list[Any]) -> list[Record]:
        rows = self.base.rows(f"SELECT body FROM records {where}", values)
        # PostgreSQL's driver has parsed it already.
        return [row[0] if isinstance(row[0], dict) else json.loads(row[0]) for row in rows]
