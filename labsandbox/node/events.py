"""Tell the API what happened to a pod, the same thing twice as one event with a count."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

import aiohttp

from labsandbox.client import ApiError, Client, ClientError
from labsandbox.client.resources import EVENTS
from labsandbox.node.status import when

log = logging.getLogger(__name__)

Object = dict[str, Any]

_LONGEST_QUEUE = 1000
_REMEMBERED = 500


class Recorder:
    """Sends events in the background; when the API is away it waits, and forgets the oldest."""

    def __init__(self, client: Client, component: str, host: str | None = None) -> None:
        self.client, self.component, self.host = client, component, host
        self._queue: asyncio.Queue[Object] = asyncio.Queue(_LONGEST_QUEUE)
        self._seen: dict[tuple[str, ...], Object] = {}

    def record(
        self, obj: Object, kind: str, reason: str, message: str, container: str | None = None
    ) -> None:
        """Note an event about an object; kind is Normal or Warning."""
        meta = obj["metadata"]
        involved = {
            "kind": obj.get("kind", "Pod"),
            "namespace": meta.get("namespace"),
            "name": meta["name"],
            "uid": meta.get("uid"),
            "apiVersion": obj.get("apiVersion", "v1"),
            "resourceVersion": meta.get("resourceVersion"),
        }
        if container:
            involved["fieldPath"] = container
        event = {"involvedObject": involved, "type": kind, "reason": reason}
        event["message"] = message[:1024]
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(event)

    async def run(self) -> None:
        """Send what is recorded, for ever."""
        while True:
            event = await self._queue.get()
            pause = 0.1
            while True:
                try:
                    await self._send(event)
                    break
                except ApiError as error:
                    if error.status not in (429, 500, 503):
                        # The namespace is gone or going: nobody will read it.
                        log.debug("event %s not accepted: %s", event["reason"], error)
                        break
                except (ClientError, aiohttp.ClientError, OSError, TimeoutError):
                    pass
                except Exception:
                    log.exception("event %s cannot be sent", event["reason"])
                    break
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5)

    async def _send(self, event: Object) -> None:
        involved = event["involvedObject"]
        key = (
            str(involved["uid"]),
            str(involved.get("fieldPath")),
            event["type"],
            event["reason"],
            event["message"],
        )
        now = when(time.time())
        before = self._seen.get(key)
        if before is not None:
            count = before["count"] + 1
            with contextlib.suppress(ApiError):
                await self.client.patch(
                    EVENTS,
                    before["metadata"]["name"],
                    before["metadata"]["namespace"],
                    {"count": count, "lastTimestamp": now},
                )
                before["count"] = count
                return
        namespace = involved["namespace"] or "default"
        created = await self.client.create(
            EVENTS,
            {
                **event,
                "metadata": {
                    "name": f"{involved['name']}.{time.time_ns():x}",
                    "namespace": namespace,
                },
                "source": {
                    "component": self.component,
                    **({"host": self.host} if self.host else {}),
                },
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "reportingComponent": self.component,
                "reportingInstance": self.host or "",
            },
            namespace,
        )
        where = {"name": created["metadata"]["name"], "namespace": namespace}
        self._seen[key] = {"metadata": where, "count": 1}
        if len(self._seen) > _REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
