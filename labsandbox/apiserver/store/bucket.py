"""All objects of one resource in memory, in the order lists show them, with their recent past."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from operator import attrgetter

from labsandbox.apiserver.store.record import CREATED, DELETED, Change, Record

_revision = attrgetter("revision")


class Bucket:
    """Committed objects by namespace and name, and the changes since the last compaction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spaces: dict[str, dict[str, Record]] = {}
        self.changes: deque[Change] = deque()
        self._sorted: dict[str, list[Record]] = {}
        self._all: list[Record] | None = None

    def get(self, namespace: str, name: str) -> Record | None:
        space = self.spaces.get(namespace)
        return space.get(name) if space is not None else None

    def apply(self, change: Change) -> None:
        """Make a committed change visible."""
        record = change.after
        space = self.spaces.setdefault(record.namespace, {})
        if change.kind == DELETED:
            space.pop(record.name, None)
            self._forget_order(record.namespace)
            if not space:
                del self.spaces[record.namespace]
        else:
            space[record.name] = record
            ordered = self._sorted.get(record.namespace)
            if change.kind == CREATED:
                self._forget_order(record.namespace)
            elif ordered is not None:
                ordered[bisect_left(ordered, record.name, key=attrgetter("name"))] = record
                self._all = None
        self.changes.append(change)

    def _forget_order(self, namespace: str) -> None:
        self._sorted.pop(namespace, None)
        self._all = None

    def ordered(self, namespace: str | None) -> list[Record]:
        """Records of a namespace (all when None) by key, as etcd sorts them; do not change it."""
        if namespace is not None:
            found = self._sorted.get(namespace)
            if found is None:
                space = self.spaces.get(namespace)
                if space is None:
                    return []
                found = [space[name] for name in sorted(space)]
                self._sorted[namespace] = found
            return found
        if self._all is None:
            spaces = sorted(self.spaces, key=lambda space: f"{space}/")
            self._all = [record for space in spaces for record in self.ordered(space)]
        return self._all

    def ordered_at(self, namespace: str | None, revision: int) -> list[Record]:
        """The same at an earlier revision: the present with later changes taken back."""
        if not self.changes or self.changes[-1].revision <= revision:
            return self.ordered(namespace)
        present = {record.key: record for record in self.ordered(namespace)}
        for change in reversed(self.changes):
            if change.revision <= revision:
                break
            if namespace is not None and change.after.namespace != namespace:
                continue
            if change.before is None:
                present.pop(change.after.key, None)
            else:
                present[change.after.key] = change.before
        return sorted(present.values(), key=lambda record: f"{record.namespace}/{record.name}")

    def since(self, revision: int) -> list[Change]:
        """Changes after `revision`, oldest first."""
        changes = self.changes
        if not changes or changes[-1].revision <= revision:
            return []
        if changes[0].revision > revision:
            return list(changes)
        start = bisect_right(changes, revision, key=_revision)
        return [changes[at] for at in range(start, len(changes))]

    def compact(self, revision: int) -> None:
        """Forget changes up to `revision`."""
        while self.changes and self.changes[0].revision <= revision:
            self.changes.popleft()
