"""watch: one request from its first event to its end."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.media import (
    PROTOBUF,
    YAML,
    Accepted,
    accept,
    only_accepted,
    takes_plain,
)
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, expired
from labsandbox.apiserver.store import Record
from labsandbox.apiserver.verbs.objects import full_bytes
from labsandbox.apiserver.verbs.options import (
    ListOptions,
    Selection,
    list_options,
    parse_revision,
)
from labsandbox.apiserver.watch.hub import MAX_UNREAD, Watcher
from labsandbox.apiserver.watch.render import (
    FormRenderer,
    bookmark,
    event,
    initial_end,
    plain_renderer,
)
from labsandbox.apiserver.watch.websocket import Socket, is_wanted

_SHORTEST, _BOOKMARKS, _DRAIN = 1800.0, 60.0, 60.0
_STREAMS = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"


def _accept(request: Request) -> Accepted:
    accepted = accept(request.headers.get("accept", ""))
    if accepted.media in (YAML, PROTOBUF):
        raise StatusError(
            406,
            "NotAcceptable",
            f"only the following media types are accepted: {_STREAMS}",
        )
    if accepted.form == "Table" and not takes_plain(request.headers.get("accept", "")):
        raise only_accepted()
    return accepted


async def watch(api: Api, request: Request, resource: ResourceDef) -> None:
    """Stream changes until the client leaves or the time is over."""
    accepted = _accept(request)
    options = list_options(request, resource, watch=True)
    if request.name and options.selection.name is None:
        selection = options.selection
        named = Selection(selection.labels, selection.fields, selection.readers, request.name)
        options = ListOptions(**{**_fields(options), "selection": named})
    revision = parse_revision(options.revision)
    if is_wanted(request):
        socket = Socket(request)
        await _Session(api, request, resource, accepted, options, revision, socket).run()
        socket.close()
        return
    await _start_response(request)
    transport: Any = getattr(request.connection, "transport", None)
    await _Session(api, request, resource, accepted, options, revision, transport).run()
    await request.send({"type": "http.response.body", "body": b""})


def _fields(options: ListOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


async def _start_response(request: Request) -> None:
    headers = [
        (b"cache-control", b"no-cache, private"),
        (b"content-type", b"application/json"),
        (b"transfer-encoding", b"chunked"),
    ]
    for message in dict.fromkeys(request.warnings):
        headers.append((b"warning", f'299 - "{message}"'.encode()))
    await request.send({"type": "http.response.start", "status": 200, "headers": headers})


class _Session:
    def __init__(
        self,
        api: Api,
        request: Request,
        resource: ResourceDef,
        accepted: Accepted,
        options: ListOptions,
        revision: int,
        transport: Any,
    ) -> None:
        self.api = api
        self.resource = resource
        self.options = options
        self.revision = self.started = revision
        self.form = FormRenderer(request, resource, accepted) if accepted.form else None
        connection: Any = request.connection
        self.connection, self.transport = connection, transport
        self.ended = asyncio.get_running_loop().create_future()
        namespace = request.in_namespace or None
        if not resource.namespaced:
            namespace = ""
        self.watcher = Watcher(
            resource,
            namespace,
            options.selection,
            revision,
            transport,
            self.form or plain_renderer(resource),
            self.end,
        )

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def run(self) -> None:
        store = self.api.store
        wants_state = self.revision == 0 and self.options.send_initial is not False
        wants_state = wants_state or bool(self.options.send_initial)
        if not wants_state and self.revision == 0:
            self.watcher.revision = self.started = store.revision
        elif not wants_state and self.revision < store.forgotten:
            self._too_old()
            return
        self.connection.on_lost = self.end
        try:
            await self._stream(wants_state)
        finally:
            self.connection.on_lost = None
            self.api.hub.remove(self.watcher)

    async def _stream(self, wants_state: bool) -> None:
        store, watcher = self.api.store, self.watcher
        bucket = store.bucket(self.resource.bucket)
        timeout = self.options.timeout or random.uniform(_SHORTEST, 2 * _SHORTEST)
        deadline = asyncio.get_running_loop().time() + timeout
        if wants_state:
            records = list(bucket.ordered(watcher.namespace))
            watcher.revision = self.started = store.revision
            self.api.hub.add(watcher)
            await self._send_state(records)
            if self.options.send_initial and self.options.bookmarks:
                self._bookmark(watcher.revision, initial_end(self.resource))
        else:
            past = bucket.since(watcher.revision)
            watcher.revision = max(watcher.revision, store.revision)
            self.api.hub.add(watcher)
            await self._send_past(past)
        await self._send_waiting()
        await self._wait(deadline)

    async def _send_state(self, records: list[Record]) -> None:
        accepts = self.options.selection.accepts
        chunks: list[bytes] = []
        size = 0
        for record in records:
            if not accepts(record):
                continue
            if self.form is not None:
                data = self.form.record(record, "ADDED")
            else:
                data = event("ADDED", full_bytes(self.resource, record))
            chunks.append(data)
            size += len(data)
            if size > MAX_UNREAD // 4:
                await self._flush(chunks)
                chunks, size = [], 0
        await self._flush(chunks)

    async def _send_past(self, changes: list[Any]) -> None:
        watcher = self.watcher
        for at, change in enumerate(changes):
            after = change.after
            if watcher.namespace is not None and after.namespace != watcher.namespace:
                continue
            watcher.send(change)
            if at % 200 == 199:
                await self._drain()

    async def _send_waiting(self) -> None:
        watcher = self.watcher
        while watcher.waiting:
            waiting, watcher.waiting = watcher.waiting, []
            for change in waiting:
                watcher.send(change)
            await self._drain()
        watcher.waiting = None

    async def _flush(self, chunks: list[bytes]) -> None:
        if chunks:
            self.transport.write(b"".join(chunks))
        await self._drain()

    async def _drain(self) -> None:
        """Wait until the client has read enough, or end its watch."""
        if not self.connection.flow.write_paused:
            return
        try:
            await asyncio.wait_for(self.connection.flow.drain(), _DRAIN)
        except TimeoutError:
            self.watcher.cut()

    def _bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> None:
        obj = bookmark(self.resource, revision, annotations)
        if self.form is not None:
            obj = self.form.value(obj)
        self.watcher.write(event("BOOKMARK", orjson.dumps(obj)))

    def _latest(self) -> int:
        changes = self.api.store.bucket(self.resource.bucket).changes
        return max(self.watcher.revision, changes[-1].revision if changes else 0)

    def _has_moved(self) -> bool:
        """Did the resource change since the version the watch began with, seen by it or not?"""
        changes = self.api.store.bucket(self.resource.bucket).changes
        return bool(changes) and changes[-1].revision > self.started

    async def _wait(self, deadline: float) -> None:
        """Sleep until the end, with a bookmark now and then for clients that want them."""
        loop = asyncio.get_running_loop()
        final = deadline - 2
        if final < loop.time():
            final = deadline  # too short a watch for a last bookmark
        following = loop.time() + _BOOKMARKS
        while not self.ended.done():
            now = loop.time()
            if now >= deadline:
                return
            until = deadline
            if self.options.bookmarks:
                if now >= final and now < deadline:
                    if self.watcher.seen or self._has_moved():
                        self._bookmark(self._latest())
                    final = deadline
                if now >= following:
                    self._bookmark(self._latest())
                    following = now + _BOOKMARKS
                until = min(deadline, final, following)
            await asyncio.wait([self.ended], timeout=max(until - loop.time(), 0.001))

    def _too_old(self) -> None:
        error = expired(
            f"too old resource version: {self.revision} ({self.api.store.forgotten + 1})"
        )
        self.watcher.write(event("ERROR", orjson.dumps(error.body())))
