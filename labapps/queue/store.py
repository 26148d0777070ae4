"""Jobs on disk: SQLite with a write-ahead log, synchronised at every commit.

What was acknowledged survives a kill -9. A second copy of each job lies on the project
repository (`record.py`), for when the pod is replaced by one with an empty disk.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from labapps.queue.job import FAILED, QUEUED, RUNNING, Job

__all__ = ["Store"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL, name TEXT NOT NULL,
    memory INTEGER NOT NULL, cpu REAL NOT NULL, seconds REAL NOT NULL,
    env TEXT NOT NULL, args TEXT NOT NULL, rerun INTEGER NOT NULL,
    status TEXT NOT NULL, submitted REAL NOT NULL, reason TEXT NOT NULL DEFAULT '',
    worker TEXT NOT NULL DEFAULT '', incarnation TEXT NOT NULL DEFAULT '',
    started REAL NOT NULL DEFAULT 0, finished REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, exit_code INTEGER,
    usage TEXT NOT NULL DEFAULT '{}', cancel INTEGER NOT NULL DEFAULT 0,
    code_digest TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS by_status ON jobs (status, id);
"""
FIELDS = [field.name for field in dataclasses.fields(Job)]


class Store:
    """Every job of this engine."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.is_new = not path.exists()
        self.base = sqlite3.connect(path, isolation_level=None)
        self.base.execute("PRAGMA journal_mode=WAL")
        self.base.execute("PRAGMA synchronous=FULL")
        self.base.executescript(SCHEMA)
        self._add_columns()
        self._served = self._last_served()

    def _add_columns(self) -> None:
        """Add what a database of an earlier release lacks."""
        known = {row[1] for row in self.base.execute("PRAGMA table_info(jobs)")}
        if "code_digest" not in known:
            self.base.execute("ALTER TABLE jobs ADD COLUMN code_digest TEXT NOT NULL DEFAULT ''")

    def close(self) -> None:
        self.base.close()

    def add(self, fields: dict[str, Any], number: int | None = None) -> Job:
        """Store a new job; its number counts up from 1."""
        job = Job(
            id=number or 0,
            user=fields["user"],
            name=fields["name"],
            memory=fields["memory"],
            cpu=fields["cpu"],
            seconds=fields["seconds"],
            env=fields["env"],
            args=fields["args"],
            rerun=fields["rerun"],
            status=QUEUED,
            submitted=time.time(),
            code_digest=hashlib.sha256(fields["code"].encode()).hexdigest(),
        )
        row = _row(job)
        if number is None:
            del row["id"]
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        cursor = self.base.execute(
            f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(row.values())
        )
        job.id = int(cursor.lastrowid or 0)
        return job

    def restore(self, job: Job) -> None:
        """Store a job as it was."""
        row = _row(job)
        self.base.execute(
            f"INSERT OR REPLACE INTO jobs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            tuple(row.values()),
        )

    def update(self, job: Job) -> None:
        """Write what changes in the life of a job."""
        self.base.execute(
            "UPDATE jobs SET status=?, reason=?, worker=?, incarnation=?, started=?, finished=?, "
            "attempts=?, exit_code=?, usage=?, cancel=? WHERE id=?",
            (
                job.status,
                job.reason,
                job.worker,
                job.incarnation,
                job.started,
                job.finished,
                job.attempts,
                job.exit_code,
                json.dumps(job.usage),
                int(job.cancel),
                job.id,
            ),
        )

    def get(self, number: int) -> Job | None:
        rows = self._select("WHERE id=?", (number,))
        return rows[0] if rows else None

    def of_status(self, status: str) -> list[Job]:
        return self._select("WHERE status=? ORDER BY id", (status,))

    def last(self, count: int, user: str = "", status: str = "") -> list[Job]:
        """Return the newest jobs first."""
        return self._select(
            "WHERE (?='' OR user=?) AND (?='' OR status=?) ORDER BY id DESC LIMIT ?",
            (user, user, status, status, count),
        )

    def queue(self) -> list[tuple[int, str]]:
        """Return (job, user) of all that wait, in order of submission."""
        rows = self.base.execute("SELECT id, user FROM jobs WHERE status=? ORDER BY id", (QUEUED,))
        return [(int(number), str(user)) for number, user in rows]

    def running_users(self) -> list[str]:
        rows = self.base.execute("SELECT user FROM jobs WHERE status=?", (RUNNING,))
        return [str(user) for (user,) in rows]

    def count_queued(self, user: str) -> int:
        row = self.base.execute(
            "SELECT count(*) FROM jobs WHERE status=? AND user=?", (QUEUED, user)
        ).fetchone()
        return int(row[0])

    def counts(self) -> dict[str, int]:
        rows = self.base.execute("SELECT status, count(*) FROM jobs GROUP BY status")
        return {str(status): int(count) for status, count in rows}

    @property
    def served(self) -> dict[str, int]:
        """When each user's last job started, as a growing number."""
        return self._served

    def claim(self, job: Job, worker: str, incarnation: str) -> None:
        """Give a job to a worker."""
        job.status, job.worker, job.incarnation = RUNNING, worker, incarnation
        job.started, job.attempts, job.reason = time.time(), job.attempts + 1, ""
        self._served[job.user] = max(self._served.values(), default=0) + 1
        self.update(job)

    def lose(self, job: Job, reason: str) -> None:
        """A worker was lost: the job fails with the reason, or waits again if it asked to."""
        job.reason = reason
        if job.rerun and not job.cancel and job.attempts < 5:
            job.status, job.worker, job.incarnation = QUEUED, "", ""
        else:
            job.status, job.finished = FAILED, time.time()
        self.update(job)

    def _last_served(self) -> dict[str, int]:
        rows = self.base.execute(
            "SELECT user FROM jobs WHERE started>0 GROUP BY user ORDER BY max(started)"
        )
        return {str(user): number for number, (user,) in enumerate(rows, 1)}

    def _select(self, where: str, values: tuple[Any, ...]) -> list[Job]:
        rows = self.base.execute(f"SELECT {', '.join(FIELDS)} FROM jobs {where}", values)
        found = []
        for row in rows:
            fields = dict(zip(FIELDS, row, strict=True))
            for key in ("env", "args", "usage"):
                fields[key] = json.loads(fields[key])
            fields |= {"rerun": bool(fields["rerun"]), "cancel": bool(fields["cancel"])}
            found.append(Job(**fields))
        return found


def _row(job: Job) -> dict[str, Any]:
    row = {name: getattr(job, name) for name in FIELDS}
    for key in ("env", "args", "usage"):
        row[key] = json.dumps(row[key])
    return row | {"rerun": int(job.rerun), "cancel": int(job.cancel)}
