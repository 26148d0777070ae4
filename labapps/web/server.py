"""Run one ASGI application on the ports of a pod until the pod is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from labapps.web import asgi, disk
from labapps.web.crowd import HEAD_SECONDS, Crowd
from labapps.web.listen import bind

__all__ = ["bind", "number", "reply_with", "serve"]

log = logging.getLogger(__name__)
Handler = Callable[[asgi.Request], Coroutine[Any, Any, asgi.Reply]]


def reply_with(handle: Handler) -> Callable[..., Coroutine[Any, Any, None]]:
    """Make an ASGI application of a function from request to reply."""

    async def application(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"Expected an http request; found {scope['type']}.")
        try:
            reply = await handle(asgi.Request(scope, receive))
        except asgi.Problem as error:
            reply = asgi.problem(error)
        except Exception as error:
            if disk.is_full(error):
                text = "The disk of this engine is full; nothing was stored."
                found = asgi.Problem(507, text, expected="some free space, then the same again")
            else:
                log.exception("A request to %s failed", scope["path"])
                found = asgi.Problem(500, f"The engine failed: {type(error).__name__}: {error}")
            reply = asgi.problem(found)
        await asgi.answer(send, reply)

    return application


async def serve(
    application: Callable[..., Any],
    sockets: list[socket.socket],
    *,
    grace: int = 20,
    on_stop: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM, then answer what is under way and return."""
    config = uvicorn.Config(
        application,
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace,
        backlog=2048,
    )
    server = Quiet(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if on_stop:
            on_stop()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets=sockets)


class Connection(HttpToolsProtocol):
    """A connection that gives way to others while nothing is asked on it."""

    crowd = Crowd()
    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.crowd.enter(self)
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self.give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.crowd.leave(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]
        if self.head_timer is None:
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.give_up)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self.crowd.busy(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:
            self.crowd.rest(self)

    def give_up(self) -> None:
        """Close the connection: nothing is under way on it."""
        self.transport.abort()

    def _stop_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None


class Quiet(uvicorn.Server):
    """A server that leaves signals to `serve` above."""

    def install_signal_handlers(self) -> None:
        return None

    def capture_signals(self) -> Any:
        return contextlib.nullcontext()


def number(name: str, default: float) -> float:
    """Read a number from the environment."""
    text = os.environ.get(name, "")
    try:
        return float(text) if text else default
    except ValueError as error:
        raise SystemExit(f"Expected a number in {name}; found {text!r}.") from error
