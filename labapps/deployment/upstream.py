"""A kept-open connection to one server, and one exchange on it at a time."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

__all__ = ["Upstream"]


class Upstream(asyncio.Protocol):
    """Relays the bytes of an answer to the client as they come.

    An exchange ends with "done", "unknown" (the server does not have the model; nothing was
    relayed), "lost" (nothing was relayed: another server may be asked) or "broken" (too late).
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.usable = False
        self.client: asyncio.Transport | None = None
        self.outcome: asyncio.Future[str] | None = None
        self.status = 0
        self.keep = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.usable = cast(asyncio.Transport, transport), True

    def exchange(
        self, data: bytes, client: asyncio.Transport, *, head: bool, last: bool
    ) -> asyncio.Future[str]:
        """Send a request; relay its answer to `client`. `last`: relay even "unknown"."""
        assert self.transport is not None
        self.client, self.head, self.last = client, head, last
        self.parser = httptools.HttpResponseParser(self)
        self.pending = bytearray()
        self.relaying = self.unknown = self.complete = False
        self.status = 0
        self.outcome = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.outcome

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-model" and value == b"unknown" and not self.last:
            self.unknown = True

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.keep = self.parser.should_keep_alive()
        if not self.unknown:
            self.relaying = True
        if self.head:
            self.complete, self.keep = True, False

    def on_message_complete(self) -> None:
        self.complete = True

    def data_received(self, data: bytes) -> None:
        if self.outcome is None or self.outcome.done():
            self.close()  # nobody asked
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            self._finish("broken" if self.relaying else "lost")
            return
        if self.relaying and self.client is not None:
            if self.pending:
                self.client.write(bytes(self.pending))
                self.pending.clear()
            self.client.write(data)
        else:
            self.pending += data
        if self.complete:
            if not self.keep:
                self.close()
            self._finish("unknown" if self.unknown else "done")

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._finish("broken" if self.outcome is not None and self.relaying else "lost")

    def close(self) -> None:
        self.usable = False
        if self.transport is not None:
            self.transport.close()

    def _finish(self, outcome: str) -> None:
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_result(outcome)
        self.client = None
