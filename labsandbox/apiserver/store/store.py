"""The state of the cluster: committed objects in memory, changes on their way to disk.

A writer reads `latest()`, which includes what is on its way; readers and watchers see only what is
on disk. Changes are committed in batches: while one batch is written the next one gathers, so many
writers share one sync of the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsandbox import disk
from labsandbox.apiserver.status import StatusError
from labsandbox.apiserver.store.bucket import Bucket
from labsandbox.apiserver.store.database import Database, DatabaseError, Row, forget, insert
from labsandbox.apiserver.store.record import CREATED, DELETED, MODIFIED, Change, Record, encode

Json = dict[str, Any]
Listener = Callable[[Change], None]
_LOG = logging.getLogger(__name__)
_BATCH = 500
MOST_KEPT, _OVERHEAD = 24 * 1024 * 1024, 400


class Stale(Exception):
    """The object changed after the writer read it."""


class _Entry:
    __slots__ = ("change", "future", "row")

    def __init__(self, change: Change, row: Row, future: asyncio.Future[Record]) -> None:
        self.change = change
        self.row = row
        self.future = future


class Store:
    """Reads are plain calls; `write` and `remove` return when the change is on disk."""

    def __init__(self, path: Path, most_kept: int = MOST_KEPT) -> None:
        self._most_kept = most_kept
        self._database = Database(path)
        self._buckets: dict[str, Bucket] = {}
        self._pending: dict[tuple[str, str, str], Change] = {}
        self._queue: list[_Entry] = []
        self._writing = False
        self._flushing = False
        self._superseded: deque[tuple[int, int]] = deque()
        """(revision of the change that superseded it, superseded revision)."""
        self._marks: deque[tuple[float, int]] = deque()
        self._sizes: deque[tuple[int, int]] = deque()
        """(revision, bytes) of the changes in memory, whose sum is bounded."""
        self._kept = 0
        self._cutting: asyncio.Task[int] | None = None
        self.listeners: list[Listener] = []
        self.progress: set[asyncio.Event] = set()
        self.compacted = self._database.number("compacted")
        """Lists at revisions before this one are no longer possible."""
        self.forgotten = self.compacted
        """Watches from revisions before this one are no longer possible."""
        self.revision = max(self._database.number("revision"), 1)
        self._next = self.revision
        self._load()
        complaint = self._database.witness.complaint(self.revision)
        if complaint:
            self._database.close()
            raise DatabaseError(complaint)

    def _load(self) -> None:
        for revision, bucket_name, namespace, name, kind, body in self._database.load():
            bucket = self.bucket(bucket_name)
            before = bucket.get(namespace, name)
            change = Change(bucket_name, kind, Record(namespace, name, revision, body), before)
            bucket.apply(change)
            self._note_superseded(change)
            self._note_size(change)
            self.revision = self._next = max(self.revision, revision)
        self.forget(max(self.forgotten, self._too_much()))

    def start(self) -> None:
        """Begin to accept writes; call it on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._database.start()

    def bucket(self, name: str) -> Bucket:
        found = self._buckets.get(name)
        if found is None:
            found = self._buckets[name] = Bucket(name)
        return found

    # reading

    def get(self, bucket: str, namespace: str, name: str) -> Record | None:
        """The committed record."""
        return self.bucket(bucket).get(namespace, name)

    def latest(self, bucket: str, namespace: str, name: str) -> Record | None:
        """The record the next writer must build on, committed or on its way to disk."""
        pending = self._pending.get((bucket, namespace, name))
        if pending is not None:
            return None if pending.kind == DELETED else pending.after
        return self.bucket(bucket).get(namespace, name)

    def pending_creations(self, bucket: str) -> list[Record]:
        """Records on their way to disk that did not exist before."""
        return [
            change.after
            for key, change in self._pending.items()
            if key[0] == bucket and change.kind != DELETED
            and self.bucket(bucket).get(key[1], key[2]) is None
        ]  # fmt: skip

    async def wait_for(self, revision: int, timeout: float) -> bool:
        """Wait until `revision` is committed; False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        event = asyncio.Event()
        self.progress.add(event)
        try:
            while self.revision < revision:
                event.clear()
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                try:
                    await asyncio.wait_for(event.wait(), left)
                except TimeoutError:
                    return self.revision >= revision
        finally:
            self.progress.discard(event)
        return True

    # writing

    async def write(
        self, bucket: str, namespace: str, name: str, obj: Json, expected: Record | None
    ) -> Record:
        """Store `obj` in place of `expected` (None: it must not exist yet), or raise `Stale`."""
        return await self.submit(bucket, namespace, name, obj, expected)

    async def remove(
        self, bucket: str, namespace: str, name: str, obj: Json, expected: Record
    ) -> Record:
        """Delete the object; `obj` is its last state, which watchers are shown."""
        return await self.submit(bucket, namespace, name, obj, expected, DELETED)

    def submit(
        self,
        bucket: str,
        namespace: str,
        name: str,
        obj: Json,
        expected: Record | None,
        kind: int | None = None,
    ) -> asyncio.Future[Record]:
        """Give the change its revision and queue it; the future ends when it is on disk."""
        before = self.latest(bucket, namespace, name)
        if before is not expected:
            raise Stale
        if kind is None:
            kind = CREATED if before is None else MODIFIED
        revision = self._next + 1
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(revision)
        try:
            body = encode(obj)
        except TypeError as error:
            raise StatusError(400, "BadRequest", f"unable to encode the object: {error}") from None
        self._next = revision
        record = Record(namespace, name, revision, body, metadata.get("labels") or {})
        change = Change(bucket, kind, record, before)
        self._pending[bucket, namespace, name] = change
        row = (revision, bucket, namespace, name, kind, body)
        future: asyncio.Future[Record] = self._loop.create_future()
        self._queue.append(_Entry(change, row, future))
        if not self._writing and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._flushing = False
        if self._writing or not self._queue:
            return
        batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
        rows = [entry.row for entry in batch]
        self._writing = True
        self._database.run(
            lambda connection: insert(connection, rows),
            self._loop,
            lambda error: self._written(batch, error),
        )

    def _written(self, batch: list[_Entry], error: Exception | None) -> None:
        self._writing = False
        if error is not None:
            self._fail(batch, error)
            return
        for entry in batch:
            change = entry.change
            self._publish(change)
            if not entry.future.done():
                entry.future.set_result(change.after)
        for event in self.progress:
            event.set()
        self._flush()

    def _publish(self, change: Change) -> None:
        key = (change.bucket, change.after.namespace, change.after.name)
        if self._pending.get(key) is change:
            del self._pending[key]
        self.bucket(change.bucket).apply(change)
        self.revision = change.revision
        self._note_superseded(change)
        self._note_size(change)
        for listener in self.listeners:
            listener(change)
        change.wire.clear()
        if self._kept > self._most_kept and self._cutting is None:
            self._cutting = self._loop.create_task(self._cut())
            self._cutting.add_done_callback(self._cut_done)

    def _note_size(self, change: Change) -> None:
        size = len(change.after.body) + _OVERHEAD
        self._sizes.append((change.revision, size))
        self._kept += size

    def _too_much(self) -> int:
        """The revision to forget up to, so that the past takes no more than half its room."""
        if self._kept <= self._most_kept:
            return 0
        left = self._kept
        for revision, size in self._sizes:
            left -= size
            if left <= self._most_kept // 2:
                return revision
        return self.revision

    async def _cut(self) -> int:
        target = self._too_much()
        self.forget(target)
        return await self.compact(target)

    def _cut_done(self, task: asyncio.Task[int]) -> None:
        self._cutting = None
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("cutting the history failed: %s", task.exception())

    def _fail(self, batch: list[_Entry], error: Exception) -> None:
        """Nothing of the batch is on disk, so nothing built upon it may be either."""
        lost = batch + self._queue
        self._queue = []
        self._pending.clear()
        status = _storage_status(error)
        _LOG.error("%d writes refused: %s", len(lost), error)
        for entry in lost:
            if not entry.future.done():
                entry.future.set_exception(
                    StatusError(status.code, status.reason, status.message, status.details)
                )

    def _note_superseded(self, change: Change) -> None:
        if change.before is not None:
            self._superseded.append((change.revision, change.before.revision))
        if change.kind == DELETED:
            self._superseded.append((change.revision, change.revision))

    # compaction

    async def compact(self, revision: int | None = None) -> int:
        """Cut the history on disk up to `revision` (now when None).

        Open and resumed watches are served from memory and do not notice.
        """
        target = min(self.revision if revision is None else revision, self.revision)
        self.compacted = max(self.compacted, target)
        garbage: list[int] = []
        while self._superseded and self._superseded[0][0] <= target:
            garbage.append(self._superseded.popleft()[1])
        numbers = {"compacted": self.compacted, "revision": self.revision}
        done: asyncio.Future[None] = self._loop.create_future()
        self._database.run(
            lambda connection: forget(connection, garbage, numbers),
            self._loop,
            lambda error: done.set_result(None) if not done.done() else None,
        )
        await done
        return target

    def forget(self, revision: int) -> None:
        """Drop the past up to `revision` from memory too."""
        self.forgotten = max(self.forgotten, revision)
        for bucket in self._buckets.values():
            bucket.compact(revision)
        while self._sizes and self._sizes[0][0] <= revision:
            self._kept -= self._sizes.popleft()[1]

    async def compact_older_than(self, seconds: float) -> None:
        """Keep the changes of the last `seconds`."""
        now = time.monotonic()
        self._marks.append((now, self.revision))
        target = 0
        while self._marks and self._marks[0][0] <= now - seconds:
            target = self._marks.popleft()[1]
        if target > self.forgotten:
            self.forget(target)
            await self.compact(target)

    def close(self) -> None:
        """Write what is queued and close the file."""
        self._database.close()


def _storage_status(error: Exception) -> StatusError:
    if disk.is_full(error):
        return StatusError(
            507,
            "InsufficientStorage",
            "the change was not stored: the disk that holds the platform's state is full. "
            "Free some space and try again; nothing stored before is lost",
        )
    return StatusError(500, "InternalError", f"the change was not stored: {error}")
