"""Where objects live: one SQLite file, one revision counter, a log that watchers read.

The file holds the history (a row per change) and nothing else; the current state is the last row
of each object. Everything that is read is in memory; a write is acknowledged, and becomes visible,
when its row is on disk.
"""

from labsandbox.apiserver.store.database import DatabaseError
from labsandbox.apiserver.store.record import Change, Record
from labsandbox.apiserver.store.store import MOST_KEPT, Stale, Store

__all__ = ["MOST_KEPT", "Change", "DatabaseError", "Record", "Stale", "Store"]
