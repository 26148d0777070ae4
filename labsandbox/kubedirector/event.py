"""Recording events: written in the background, repeated ones counted up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from datetime import UTC, datetime

import aiohttp

from labsandbox.client import ApiError, Client
from labsandbox.client.resources import EVENTS
from labsandbox.kubedirector.model import Object

log = logging.getLogger(__name__)

SOURCE = "kubedirector"
_REMEMBERED = 2000
_MESSAGE_LENGTH = 1024


class Recorder:
    """Writes events one after the other, so that their order is that of what happened."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: asyncio.Queue[tuple[Object, str, str, str]] = asyncio.Queue(maxsize=10000)
        self._known: OrderedDict[tuple[str, str, str], tuple[str, int]] = OrderedDict()

    def record(self, about: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Queue an event about an object; when thousands wait, the newest are dropped."""
        kind = "Warning" if warning else "Normal"
        log.info(
            "%s/%s: %s", about["metadata"].get("namespace"), about["metadata"]["name"], message
        )
        try:
            self._queue.put_nowait((about, kind, reason, message[:_MESSAGE_LENGTH]))
        except asyncio.QueueFull:
            log.warning("too many events wait to be written; one was dropped: %s", message)

    async def run(self) -> None:
        """Write queued events until cancelled."""
        while True:
            about, kind, reason, message = await self._queue.get()
            try:
                await self._write(about, kind, reason, message)
            except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
                # An event is worth less than the work it tells of; one that cannot be written,
                # because its namespace goes away for example, is only logged.
                log.info("event was not written: %s", error)
            except Exception:
                log.exception("event %s was not written", reason)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait until everything queued so far is written."""
        await self._queue.join()

    async def _write(self, about: Object, kind: str, reason: str, message: str) -> None:
        meta = about["metadata"]
        key = (meta.get("uid") or meta["name"], reason, message)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        namespace = meta.get("namespace") or "default"
        known = self._known.get(key)
        if known:
            name, count = known
            patch = {"count": count + 1, "lastTimestamp": now}
            try:
                await self._client.patch(EVENTS, name, namespace, patch)
                self._remember(key, name, count + 1)
                return
            except ApiError as error:
                if not error.is_not_found:
                    raise
        name = f"{meta['name'][:200]}.{time.time_ns():x}"
        await self._client.create(
            EVENTS,
            {
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {
                    "apiVersion": about.get("apiVersion"),
                    "kind": about.get("kind"),
                    "name": meta["name"],
                    "namespace": namespace,
                    "uid": meta.get("uid") or "",
                    "resourceVersion": meta.get("resourceVersion") or "",
                },
                "type": kind,
                "reason": reason,
                "message": message,
                "source": {"component": SOURCE},
                "reportingComponent": SOURCE,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
            namespace,
        )
        self._remember(key, name, 1)

    def _remember(self, key: tuple[str, str, str], name: str, count: int) -> None:
        self._known[key] = (name, count)
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
