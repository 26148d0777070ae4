"""The few lines of HTTP our applications need above raw ASGI.

They add 5 µs of processor time to the 20 µs of uvicorn alone; Starlette adds 14, and aiohttp's own
server takes 30 in all (`python -m benchmarks.http`). A whole prediction takes about 100 here, and
tests call an ASGI application without a socket. The API server has a layer of its own: see
`labsandbox/apiserver/http/app.py`, which may not be imported from here.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

__all__ = ["Problem", "Receive", "Reply", "Request", "Scope", "Send", "answer", "problem"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"
BODY_SECONDS = 60.0
"""How long a client may pause within a body."""


class Problem(Exception):
    """Something is wrong with a request; the client is told what was expected."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **more}
        self.headers: list[tuple[bytes, bytes]] = []


@dataclass
class Reply:
    """An answer: a body, or a stream of pieces."""

    status: int
    body: bytes = b""
    kind: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    stream: AsyncIterator[bytes] | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Reply:
        extra = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        return cls(status, orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), JSON, extra)

    @classmethod
    def text(cls, text: str, kind: str = "text/plain; charset=utf-8") -> Reply:
        return cls(200, text.encode(), kind.encode())


def problem(error: Problem) -> Reply:
    """Turn a problem into its answer."""
    reply = Reply.json(error.body, error.status)
    reply.headers += error.headers
    if error.status == 401:
        reply.headers.append((b"www-authenticate", b'Token header="X-Auth-Token"'))
    if error.status in (429, 503):
        reply.headers.append((b"retry-after", b"1"))
    return reply


class Request:
    """A request whose body is read when it is asked for."""

    __slots__ = ("_receive", "method", "path", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]

    @property
    def port(self) -> int:
        server = self.scope.get("server")
        return int(server[1]) if server and server[1] else 0

    @property
    def query(self) -> dict[str, str]:
        raw = self.scope.get("query_string") or b""
        return {k: v[-1] for k, v in parse_qs(raw.decode("latin-1")).items()} if raw else {}

    @property
    def segments(self) -> list[str]:
        raw = self.scope.get("raw_path") or self.path.encode()
        parts = raw.split(b"?", 1)[0].split(b"/")
        return [unquote(p.decode("latin-1")) for p in parts if p]

    def header(self, name: bytes) -> str:
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return ""

    def token(self) -> str:
        """Return the token from the header, else from the query."""
        found = self.header(b"x-auth-token")
        if found:
            return found
        bearer = self.header(b"authorization")
        if bearer.lower().startswith("bearer "):
            return bearer[7:].strip()
        return self.query.get("X-Auth-Token", "") if self.scope.get("query_string") else ""

    def bears(self, tokens: Iterable[str]) -> bool:
        """Tell whether the request bears one of the tokens."""
        given = self.token().encode("utf-8", "replace")
        return True in {hmac.compare_digest(given, token.encode()) for token in tokens}

    def require_token(self, tokens: Iterable[str]) -> None:
        """Refuse a request that bears none of the tokens."""
        if not self.bears(tokens):
            given = self.token()
            raise Problem(
                401,
                "HTTP/1.1 401 Unauthorized: "
                + ("the token in X-Auth-Token is not this engine's." if given else "no token."),
                expected="X-Auth-Token: the value of annotation kubedirector.hpe.com/kd-auth-token "
                "of the LoadBalancer's service, as header or query parameter",
            )

    async def disconnected(self) -> None:
        """Return when the client has gone. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def body(self, limit: int) -> bytes:
        """Read the body; refuse one that is longer than `limit`."""
        length = self.header(b"content-length")
        if length.isascii() and length.isdigit() and int(length[:19]) > limit:
            raise too_large(int(length), limit)
        message = await self._next()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > limit:
                raise too_large(len(body), limit)
            return body
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise Problem(400, "The connection ended before the whole body had come.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large(size, limit)
        return b"".join(parts)

    async def _next(self) -> MutableMapping[str, Any]:
        cycle = getattr(self.scope.get("connection"), "cycle", None)
        if cycle is not None and not cycle.more_body:
            return await self._receive()  # all of it is here: a timeout costs a tenth of a request
        try:
            return await asyncio.wait_for(self._receive(), BODY_SECONDS)
        except TimeoutError:
            raise Problem(
                408, f"No more of the body came for {BODY_SECONDS:g} s.", expected="a whole body"
            ) from None


def too_large(size: int, limit: int) -> Problem:
    return Problem(
        413,
        f"The body has {size} bytes or more; at most {limit} are taken.",
        expected=f"at most {limit} bytes; send the rows in several requests",
        limit=limit,
    )


async def answer(send: Send, reply: Reply) -> None:
    """Send a reply."""
    headers = [(b"content-type", reply.kind), *reply.headers]
    if reply.stream is None:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.stream is None:
        await send({"type": "http.response.body", "body": reply.body})
        return
    async for piece in reply.stream:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
