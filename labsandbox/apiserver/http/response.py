"""Answers: bodies, headers, compression, and a Status for everything that goes wrong."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.http.media import JSON, PROTOBUF, YAML, accept_errors, write
from labsandbox.apiserver.status import StatusError

if TYPE_CHECKING:
    from labsandbox.apiserver.http.request import Request

_MOST_WARNED, _SHORTENED, _MOST_WARNINGS = 4096, 256, 64
_COMPRESSED_FROM = 128 * 1024
_CHUNKED_FROM = 2048
_PRIVATE = (b"cache-control", b"no-cache, private")
_MEDIA = {
    JSON: (b"content-type", b"application/json"),
    YAML: (b"content-type", b"application/yaml"),
    PROTOBUF: (b"content-type", b"application/vnd.kubernetes.protobuf"),
}
Headers = list[tuple[bytes, bytes]]


class Response:
    """A complete answer."""

    __slots__ = ("body", "headers", "status", "whole")

    def __init__(
        self,
        status: int,
        body: bytes,
        media: str = JSON,
        headers: Headers | None = None,
        *,
        whole: bool = False,
        cache: bytes | None = None,
    ) -> None:
        self.status = status
        self.body = body
        content = _MEDIA.get(media)
        private = _PRIVATE if cache is None else (b"cache-control", cache)
        self.headers: Headers = [
            *([private] if private[1] else ()),
            *([content or (b"content-type", media.encode())] if media else ()),
            *(headers or ()),
        ]
        self.whole = whole
        """Send with a Content-Length however long it is."""


def text(status: int, body: str, *, sniff: bool = False) -> Response:
    """A plain text answer."""
    headers = [] if sniff else [(b"x-content-type-options", b"nosniff")]
    return Response(status, body.encode(), "text/plain; charset=utf-8", headers)


def answer(value: Any, request: Request, status: int = 200, media: str = JSON) -> Response:
    """A value in the client's media type."""
    return Response(status, write(value, media, pretty=wants_pretty(request)), media)


def wants_pretty(request: Request) -> bool:
    if "pretty" in request.query:
        return request.flag("pretty")
    agent = request.headers.get("user-agent", "")
    return agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def failure(error: StatusError, request: Request) -> Response:
    """A Status, in the media type of the client if it can be."""
    media = accept_errors(request.headers.get("accept", ""))
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if error.code == 413:
        headers.append((b"connection", b"close"))
    try:
        body = write(error.body(), media, pretty=wants_pretty(request))
    except StatusError:
        media, body = JSON, write(error.body(), JSON)
    return Response(error.code, body, media, headers)


async def send(response: Response, request: Request) -> None:
    """Send an answer: compressed when long and wanted, chunked from 2 kB on, as Go does."""
    headers = response.headers
    body = response.body
    for message in limited(request.warnings):
        headers.append((b"warning", _warning(message)))
    if len(body) >= _COMPRESSED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 1)
        headers.append((b"content-encoding", b"gzip"))
        headers.append((b"vary", b"Accept-Encoding"))
    if response.status not in (204, 304) and (len(body) <= _CHUNKED_FROM or response.whole):
        headers.append((b"content-length", str(len(body)).encode()))
    start = {"type": "http.response.start", "status": response.status, "headers": headers}
    await request.send(start)
    await request.send({"type": "http.response.body", "body": body})


def limited(warnings: Iterable[str]) -> list[str]:
    """Return each warning once, and no more text than a kube-apiserver sends.

    It shortens each to 256 characters when all together pass 4,096, and ends there. Ours also ends
    after 64: Python's client reads no answer of more than 100 headers.

    >>> limited(["a", "b", "a"]), len(limited(map(str, range(1000))))
    (['a', 'b'], 64)
    >>> [len(one) for one in limited([letter * 1000 for letter in "abcdefghij"])] == [256] * 10
    True
    """
    found = list(dict.fromkeys(warnings))
    if sum(map(len, found)) <= _MOST_WARNED:
        return found[:_MOST_WARNINGS]
    kept, written = list[str](), 0
    for message in found[:_MOST_WARNINGS]:
        if written >= _MOST_WARNED:
            break
        kept.append(message[:_SHORTENED])
        written += len(kept[-1])
    return kept


def _warning(message: str) -> bytes:
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    clean = "".join(char if char.isprintable() else " " for char in quoted)
    return f'299 - "{clean}"'.encode("utf-8", "replace")
