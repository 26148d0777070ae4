"""Events live for an hour, as on a real cluster."""

from __future__ import annotations

import time
from calendar import timegm
from typing import TYPE_CHECKING

from labsandbox.apiserver.store.store import Stale

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

LIFETIME = 3600
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


async def expire_events(api: Api, lifetime: int = LIFETIME) -> int:
    """Remove events nobody has written for `lifetime` seconds; returns how many."""
    oldest = time.time() - lifetime
    removed = 0
    for record in list(api.store.bucket("events").ordered(None)):
        obj = record.load()
        written = obj.get("lastTimestamp") or obj["metadata"].get("creationTimestamp") or ""
        try:
            at = timegm(time.strptime(written, _FORMAT))
        except ValueError:
            continue
        if at > oldest:
            continue
        try:
            await api.store.remove("events", record.namespace, record.name, obj, record)
        except Stale:
            continue
        removed += 1
    return removed
