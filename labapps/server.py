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

from labapps import asgi
from labapps.listen import bind

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
            log.exception("A request to %s failed", scope["path"])
            reply = asgi.problem(
                asgi.Problem(500, f"The engine failed: {type(error).__name__}: {error}")
            )
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
