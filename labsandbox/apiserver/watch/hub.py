"""Fan-out: from a committed change to the connections that watch its object.

Events are bytes shared by all watchers of one representation and go straight to the transport. A
watcher whose client does not read is cut off before its unread events fill the memory; the client
resumes from the last revision it saw, as after any lost connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.store.record import CREATED, DELETED, Change, Record
from labsandbox.apiserver.store.store import Store
from labsandbox.apiserver.verbs.options import Selection

_LOG = logging.getLogger(__name__)
MAX_UNREAD = 1024 * 1024
MAX_WAITING = 20_000
_Key = tuple[str, str | None, str | None]
Render = Callable[[Change, str, bool], bytes]
"""change, event type, True for the state before the change -> one framed event."""


def frame(payload: bytes) -> bytes:
    """A chunk of a chunked HTTP body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class Watcher:
    """One open watch."""

    __slots__ = (
        "namespace",
        "on_end",
        "render",
        "resource",
        "revision",
        "seen",
        "selection",
        "transport",
        "waiting",
    )

    def __init__(
        self,
        resource: ResourceDef,
        namespace: str | None,
        selection: Selection,
        revision: int,
        transport: Any,
        render: Render,
        on_end: Callable[[], None],
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.selection = selection
        self.revision = revision
        self.transport = transport
        self.render = render
        self.on_end = on_end
        self.seen = False
        self.waiting: list[Change] | None = []
        """Changes that came while the initial events are still being sent; None afterwards."""

    @property
    def key(self) -> _Key:
        return (self.resource.bucket, self.namespace, self.selection.name)

    def offer(self, change: Change) -> None:
        """Take a committed change: send it now, or keep it until the start is done."""
        if change.revision <= self.revision:
            return
        if self.waiting is not None:
            self.waiting.append(change)
            if len(self.waiting) > MAX_WAITING:
                self.cut()
            return
        self.send(change)

    def send(self, change: Change) -> None:
        """Write the event this change is to this watcher, if it is one."""
        kind = self._kind(change)
        if kind is None:
            return
        name, before = kind
        self.seen = True
        self.write(self.render(change, name, before))

    def _kind(self, change: Change) -> tuple[str, bool] | None:
        selection = self.selection
        if selection.is_everything:
            return (_NAMES[change.kind], False)
        was = change.before is not None and selection.accepts(change.before)
        if change.kind == DELETED:
            return ("DELETED", False) if was else None
        fits = selection.accepts(change.after)
        if fits:
            return ("MODIFIED" if was else "ADDED", False)
        return ("DELETED", True) if was else None

    def write(self, data: bytes) -> None:
        transport = self.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_UNREAD:
            self.cut()
            return
        transport.write(data)

    def cut(self) -> None:
        """End the connection of a client that does not keep up."""
        _LOG.info("a watch of %s was cut off: its client does not read", self.resource.plural)
        self.transport.abort()
        self.on_end()


_NAMES = {CREATED: "ADDED", 1: "MODIFIED", DELETED: "DELETED"}


class Hub:
    """All open watches, found by the object a change is about."""

    def __init__(self, store: Store) -> None:
        self._watchers: dict[_Key, set[Watcher]] = {}
        store.listeners.append(self._changed)

    def add(self, watcher: Watcher) -> None:
        self._watchers.setdefault(watcher.key, set()).add(watcher)

    def remove(self, watcher: Watcher) -> None:
        found = self._watchers.get(watcher.key)
        if found is not None:
            found.discard(watcher)
            if not found:
                del self._watchers[watcher.key]

    def __len__(self) -> int:
        return sum(len(found) for found in self._watchers.values())

    def end_all(self, bucket: str) -> None:
        """End the watches of a resource that is no longer served."""
        for key, found in list(self._watchers.items()):
            if key[0] == bucket:
                for watcher in list(found):
                    watcher.on_end()

    def _changed(self, change: Change) -> None:
        record: Record = change.after
        for namespace in (record.namespace, None):
            for name in (record.name, None):
                found = self._watchers.get((change.bucket, namespace, name))
                if found:
                    for watcher in list(found):
                        watcher.offer(change)
