"""The least an HTTP answer can cost: a raw ASGI application that returns what it got."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def read(receive: Receive) -> bytes:
    """Return the body of a request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def answer(send: Send, body: bytes) -> None:
    """Send an answer."""
    length = str(len(body)).encode()
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    await send(head)
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with the body of the request."""
    await answer(send, await read(receive))


def serve(application: Any, host: str, port: int) -> None:
    """Serve an application with uvicorn at its fastest."""
    uvicorn.run(
        application,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        lifespan="off",
        loop="uvloop",
        http="httptools",
    )


if __name__ == "__main__":
    serve(echo, sys.argv[1], int(sys.argv[2]))
