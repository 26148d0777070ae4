"""A request as the API sees it: who asks, which verb, which object."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from labsandbox import whole
from labsandbox.apiserver import work
from labsandbox.apiserver.status import StatusError, bad_request, too_large

if TYPE_CHECKING:
    from labsandbox.apiserver.auth.user import User

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 3 * 1024 * 1024
MOST_IN_FLIGHT = 192 * 1024 * 1024
"""Bytes that the bodies of all requests may take together; as objects they take more."""
_BODY_SECONDS = 60.0
_DISCARD_SECONDS = 10.0
_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_DURATION = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


class Bodies:
    """What the bodies of the requests that are being answered take together."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, size: int) -> None:
        """Count more; refuse it when that is too much."""
        if self.bytes + size > MOST_IN_FLIGHT:
            raise StatusError(
                429,
                "TooManyRequests",
                "Too many requests, please try again later.",
                retry_after=1,
            )
        self.bytes += size


BODIES = Bodies()


class Request:
    """Parsed once; `resource` is empty for paths that are not about objects."""

    __slots__ = (
        "_body",
        "_held",
        "_receive",
        "connection",
        "group",
        "headers",
        "impersonated",
        "method",
        "name",
        "namespace",
        "parts",
        "path",
        "query",
        "resource",
        "scope",
        "send",
        "subresource",
        "user",
        "verb",
        "version",
        "warnings",
    )

    user: User

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self.send = send
        self._body: bytes | None = None
        self._held = 0
        self.connection = scope.get("connection")
        self.method: str = scope["method"]
        self.path: str = _without_dots(scope["path"])
        self.headers: dict[str, str] = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        raw = scope["query_string"]
        self.query: dict[str, list[str]] = {}
        if raw:
            for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
                self.query.setdefault(key, []).append(value)
        self.group = self.version = self.resource = self.name = self.subresource = ""
        self.namespace = ""
        self.parts: list[str] = []
        self.warnings: list[str] = []
        self.verb = self.method.lower()
        self._parse_path()

    def _parse_path(self) -> None:
        parts = self.path.strip("/").split("/")
        if parts[0] == "api" and len(parts) >= 3:
            self.version, rest = parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) >= 4:
            self.group, self.version, rest = parts[1], parts[2], parts[3:]
        else:
            return
        self.verb = _VERBS.get(self.method, "")
        if self.method == "HEAD":
            self.verb = "get"
        watching = rest[0] == "watch" and len(rest) > 1
        if watching:
            rest = rest[1:]
        if rest[0] == "namespaces" and len(rest) > 1:
            self.namespace = rest[1]
            if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
                rest = rest[2:]
        self.parts = rest
        self.resource = rest[0]
        self.name = rest[1] if len(rest) > 1 else ""
        self.subresource = rest[2] if len(rest) > 2 else ""
        if watching and self.verb == "get":
            self.verb = "watch"
        elif not self.name and self.verb == "get":
            self.verb = "watch" if self.flag("watch") else "list"
        elif not self.name and self.verb == "delete":
            self.verb = "deletecollection"

    @property
    def in_namespace(self) -> str:
        """The namespace objects are addressed in; empty for the namespaces themselves."""
        return "" if self.resource == "namespaces" else self.namespace

    def first(self, key: str) -> str:
        """The first value of a query parameter, or an empty string."""
        values = self.query.get(key)
        return values[0] if values else ""

    def flag(self, key: str) -> bool:
        """A boolean parameter as Go reads it: given and neither "false" nor "0"."""
        values = self.query.get(key)
        return values is not None and values[0].lower() not in ("false", "0")

    def integer(self, key: str) -> int | None:
        text = self.first(key)
        if not text:
            return None
        if not re.fullmatch(r"[-+]?[0-9]+", text):
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        value = int(text) if len(text) < 64 else 2**63
        if not -(2**63) <= value < 2**63:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
        return value

    def check_timeout(self) -> None:
        """`timeout` limits ordinary requests; a value Go cannot read is an error."""
        text = self.first("timeout")
        if text and text != "0" and not _is_duration(text):
            raise bad_request(
                f'invalid timeout specified in the request URL - time: invalid duration "{text}"'
            )

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """Read the body; a longer one than `limit` is refused before it fills the memory."""
        if self._body is not None:
            return self._body
        declared = self.headers.get("content-length", "")
        if whole.read(declared) > limit:
            raise too_large(limit)
        message = await self._next()
        found: bytes = message.get("body", b"")
        self._hold(len(found))
        if message.get("more_body"):
            chunks, size = [found], len(found)
            while message.get("more_body"):
                message = await self._next()
                chunk = message.get("body", b"")
                self._hold(len(chunk))
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                chunks.append(chunk)
            found = b"".join(chunks)
        if len(found) > limit:
            raise too_large(limit)
        self._body = found
        work.add(len(found))
        return found

    def _hold(self, size: int) -> None:
        BODIES.take(size)
        self._held += size

    def release(self) -> None:
        """Give the room of the body back: the request is answered."""
        BODIES.bytes -= self._held
        self._held = 0

    async def discard_body(self) -> None:
        """Read on without keeping anything, so that the client gets to read its answer."""
        cycle = getattr(self.connection, "cycle", None)
        if cycle is None:
            return
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while cycle.more_body and not cycle.disconnected:
                    await self._receive()
        except TimeoutError:
            return

    async def _next(self) -> MutableMapping[str, Any]:
        receive = self._receive()
        cycle = getattr(self.connection, "cycle", None)
        if cycle is not None and not cycle.more_body:
            message = await receive
        else:
            try:
                message = await asyncio.wait_for(receive, _BODY_SECONDS)
            except TimeoutError:
                raise StatusError(
                    408, "Timeout", "the body of the request did not arrive in time"
                ) from None
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away while sending the body")
        return message


def _without_dots(path: str) -> str:
    """Resolve `.` and `..` before anything is decided about the path."""
    if "/." not in path:
        return path
    found: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if len(found) > 1:
                found.pop()
        elif part != ".":
            found.append(part)
    return "/".join(found) or "/"


def _is_duration(text: str) -> bool:
    at = 0
    while at < len(text):
        found = _DURATION.match(text, at)
        if found is None:
            return False
        at = found.end()
    return bool(text)
