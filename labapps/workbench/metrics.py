"""Metrics of calls: one row per call, written in groups, each acknowledged after its commit."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labapps.workbench.database import connect
from labapps.workbench.refusal import invalid, missing

__all__ = ["Metrics", "Row", "page_size"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    seq {serial}, uuid TEXT NOT NULL UNIQUE, crn TEXT NOT NULL,
    began BIGINT NOT NULL, ended BIGINT NOT NULL, ok INTEGER NOT NULL, metrics TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_crn ON calls (crn, began, seq);
CREATE TABLE IF NOT EXISTS aggregates (
    seq {serial}, crn TEXT NOT NULL, began BIGINT NOT NULL, ended BIGINT NOT NULL,
    metrics TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS aggregates_by_crn ON aggregates (crn, began, seq);
"""
INSERT = (
    "INSERT INTO calls (uuid, crn, began, ended, ok, metrics) VALUES (?,?,?,?,?,?) "
    "ON CONFLICT DO NOTHING"
)
PAGE, MOST = 1000, 10_000


@dataclass(frozen=True)
class Row:
    """One call."""

    uuid: str
    crn: str
    began: int
    ended: int
    ok: bool
    metrics: dict[str, Any] = field(default_factory=dict)


class Metrics:
    """The rows in a database; writes of many callers share a commit."""

    def __init__(self, place: Path | str) -> None:
        self.base = connect(place)
        self.base.script(SCHEMA.format(serial=self.base.serial))
        self.waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self.writing: asyncio.Task[None] | None = None

    def close(self) -> None:
        self.base.close()

    async def add(self, row: Row) -> None:
        """Store a row; return when it is on the disk."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self.waiting.append((row, stored))
        if self.writing is None or self.writing.done():
            self.writing = loop.create_task(self._write())
        await stored

    async def _write(self) -> None:
        while self.waiting:
            group, self.waiting = self.waiting, []
            try:
                await asyncio.to_thread(self._insert, [row for row, _ in group])
            except Exception as error:
                for _, stored in group:
                    if not stored.done():
                        stored.set_exception(error)
            else:
                for _, stored in group:
                    if not stored.done():
                        stored.set_result(None)

    def _insert(self, rows: list[Row]) -> None:
        values = [(r.uuid, r.crn, r.began, r.ended, int(r.ok), json.dumps(r.metrics)) for r in rows]
        self.base.many(INSERT, values)

    async def merge(self, uuid: str, found: dict[str, Any]) -> None:
        """Add metrics to a call that was recorded before, such as its truth."""
        if not await asyncio.to_thread(self._merge, uuid, found):
            raise missing(
                f"There is no call with the predictionUuid {uuid}; the answer of the call has it."
            )

    def _merge(self, uuid: str, found: dict[str, Any]) -> bool:
        with self.base.transaction():
            rows = self.base.rows("SELECT metrics FROM calls WHERE uuid=?", (uuid,))
            if rows:
                text = json.dumps(merged(json.loads(rows[0][0]), found))
                self.base.execute("UPDATE calls SET metrics=? WHERE uuid=?", (text, uuid))
        return bool(rows)

    async def crn(self, uuid: str) -> str:
        """Return the deployment of a call."""
        rows = await asyncio.to_thread(self._rows, "SELECT crn FROM calls WHERE uuid=?", (uuid,))
        return str(rows[0][0]) if rows else ""

    async def aggregate(self, crn: str, began: int, ended: int, found: dict[str, Any]) -> None:
        """Store metrics of a window."""
        sql = "INSERT INTO aggregates (crn, began, ended, metrics) VALUES (?,?,?,?)"
        await asyncio.to_thread(self.base.many, sql, [(crn, began, ended, json.dumps(found))])

    async def read(
        self, crn: str, began: int | None, ended: int | None, after: int, size: int
    ) -> dict[str, Any]:
        """Return a page of a deployment's calls in a window, oldest first, and its aggregates."""
        first, last = began or 0, ended if ended is not None else int(time.time() * 1000) + 1
        sql = (
            "SELECT seq, uuid, began, ended, ok, metrics FROM calls "
            "WHERE crn=? AND began>=? AND began<=? AND seq>? ORDER BY seq LIMIT ?"
        )
        rows = await asyncio.to_thread(self._rows, sql, (crn, first, last, after, size + 1))
        sql = (
            "SELECT began, ended, metrics FROM aggregates "
            "WHERE crn=? AND began>=? AND began<=? ORDER BY seq LIMIT ?"
        )
        more = await asyncio.to_thread(self._rows, sql, (crn, first, last, size))
        token = str(rows[size - 1][0]) if len(rows) > size else ""
        calls = [
            {
                "modelDeploymentCrn": crn,
                "predictionUuid": uuid,
                "startTimeStampMs": start,
                "endTimeStampMs": end,
                "success": bool(ok),
                "metrics": json.loads(text),
            }
            for _, uuid, start, end, ok, text in rows[:size]
        ]
        aggregates = [
            {
                "modelDeploymentCrn": crn,
                "startTimeStampMs": start,
                "endTimeStampMs": end,
                "metrics": json.loads(text),
            }
            for start, end, text in more
        ]
        return {"metrics": calls, "aggregates": aggregates, "next_page_token": token}

    async def figures(self, crn: str) -> dict[str, int | None]:
        """Return a deployment's calls and failures, and the latency of its last calls."""
        sql = "SELECT count(*), coalesce(sum(1-ok), 0) FROM calls WHERE crn=?"
        ((calls, failed),) = await asyncio.to_thread(self._rows, sql, (crn,))
        sql = (
            "SELECT ended-began FROM (SELECT began, ended FROM calls WHERE crn=? "
            "ORDER BY began DESC, seq DESC LIMIT ?) AS last ORDER BY ended-began"
        )
        spent = [row[0] for row in await asyncio.to_thread(self._rows, sql, (crn, PAGE))]
        last = len(spent) - 1
        half, most = (spent[round(last * part)] if spent else None for part in (0.5, 0.99))
        return {"calls": calls, "failed": failed, "p50": half, "p99": most}

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        return self.base.rows(sql, values)

    def newest_aggregates(self) -> dict[str, dict[str, Any]]:
        """Return the newest aggregate of each deployment."""
        sql = (
            "SELECT crn, metrics FROM aggregates "
            "WHERE seq IN (SELECT max(seq) FROM aggregates GROUP BY crn)"
        )
        return {str(crn): json.loads(found) for crn, found in self._rows(sql, ())}

    def counts(self) -> list[tuple[str, int, int, int]]:
        """Return (crn, calls, failed, milliseconds) of each deployment."""
        sql = "SELECT crn, count(*), sum(1-ok), sum(ended-began) FROM calls GROUP BY crn"
        return [(str(a), int(b), int(c), int(d)) for a, b, c, d in self._rows(sql, ())]


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a table with another one's fields, as JSON Merge Patch has it: null takes one away.

    >>> merged({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}})
    {'b': {'c': 2, 'd': 3}}
    """
    found = dict(old)
    for name, value in new.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            before = found.get(name)
            found[name] = merged(before if isinstance(before, dict) else {}, value)
        else:
            found[name] = value
    return found


def page_size(value: Any) -> int:
    """Return how many rows a page has."""
    if value is None:
        return PAGE
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
        raise invalid(f"page_size must be a number from 1 to {MOST}; found {value!r}.")
    return value
