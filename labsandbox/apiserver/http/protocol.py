"""The server's connection: uvicorn's, which also knows its client's certificate.

It adds what Kubernetes clients need and ASGI does not carry: the subject of the client
certificate, the transport (watches write shared bytes, streams tunnel raw ones), and a proper
answer to methods HTTP has never heard of.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from labsandbox.apiserver.http.exhaustion import refusal
from labsandbox.apiserver.status import StatusError, method_not_allowed
from labsandbox.crowd import HEAD_SECONDS, Crowd

MAX_HEAD = 1024 * 1024
_METHOD = re.compile(rb"[A-Za-z-]{1,32} /")
Subject = tuple[str, tuple[str, ...]]
"""Common name and organisations."""


def subject_of(certificate: dict[str, Any] | None) -> Subject | None:
    """User and groups a verified client certificate stands for."""
    if not certificate:
        return None
    name, groups = "", []
    for relative in certificate.get("subject", ()):
        for key, value in relative:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return (name, tuple(groups)) if name else None


class Connection(HttpToolsProtocol):
    """One client connection; requests find it in `scope["connection"]`."""

    crowd = Crowd()
    head_timer: asyncio.TimerHandle | None = None
    subject: Subject | None = None
    tunnel: Callable[[bytes], None] | None = None
    """Once set, bytes from the client go there instead of the HTTP parser."""
    on_lost: Callable[[], None] | None = None
    on_room: Callable[[], None] | None = None
    upgraded: bytes = b""
    in_head: bool = True
    head_size: int = 0
    """Bytes of a request line and headers received so far; 0 once they are complete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.crowd.enter(self)
        self._expect_head()
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None:
            self.subject = subject_of(ssl_object.getpeercert())

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.crowd.leave(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self.on_lost is not None:
            self.on_lost()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_room is not None:
            self.on_room()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]

    def _should_upgrade(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel(data)
            return
        self._unset_keepalive_if_required()
        if self.in_head:
            self.head_size += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The request itself is answered by the application; what follows belongs to a tunnel.
            offset = upgrade.args[0] if upgrade.args else len(data)
            self.upgraded += data[offset:]
            if self.cycle is not None:
                self.cycle.keep_alive = False
        except httptools.HttpParserInvalidMethodError:
            if _METHOD.match(data):
                self._refuse_method()
            else:
                self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserError as error:
            # What a callback raised is the parser error's context.
            if isinstance(error.__context__, MemoryError):
                self._refuse_for_memory()
            else:
                self.send_400_response("Invalid HTTP request received.")
        except MemoryError:
            self._refuse_for_memory()
        if self.in_head and self.head_size > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The request line and headers are too long.")

    def on_headers_complete(self) -> None:
        self.in_head, self.head_size = False, 0
        self._stop_timer()
        self.crowd.busy(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:
            self.crowd.rest(self)

    def give_up(self) -> None:
        """Close the connection: no request is under way on it."""
        self.transport.abort()

    def _expect_head(self) -> None:
        if self.head_timer is None:
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.give_up)

    def _stop_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def on_message_complete(self) -> None:
        self.in_head = True
        if self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            return
        super().on_body(body)

    def _refuse_method(self) -> None:
        self._refuse(b"405 Method Not Allowed", method_not_allowed())

    def _refuse_for_memory(self) -> None:
        self._refuse(b"503 Service Unavailable", refusal("a connection"))

    def _refuse(self, status: bytes, error: StatusError) -> None:
        """Answer before there is a request, and close."""
        import orjson

        body = orjson.dumps(error.body())
        self.transport.write(
            b"HTTP/1.1 "
            + status
            + b"\r\ncache-control: no-cache, private\r\n"
            + b"content-type: application/json\r\nconnection: close\r\ncontent-length: "
            + str(len(body)).encode()
            + b"\r\n\r\n"
            + body
        )
        self.transport.close()
