"""/openapi/v2 and /openapi/v3: the documents, with ETags as caching clients expect."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import orjson

from labsandbox.apiserver import openapi
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Headers, Response, text
from labsandbox.apiserver.status import not_acceptable

_STARTED = formatdate(time.time(), usegmt=True)
_YEAR = 365 * 24 * 3600
_KEPT = 4
_V2, _V2_PROTOBUF = "v2", "v2 protobuf"
# Clients write the name with an @, which no media type may contain; servers answer with a dot.
_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


async def answer_openapi(api: Api, request: Request, parts: list[str]) -> Response:
    """Answer a path below /openapi."""
    if parts == ["v2"]:
        return await _v2(api, request)
    if parts[:1] != ["v3"]:
        return text(404, "404 page not found\n")
    if len(parts) == 1:
        body = orjson.dumps(openapi.index(api.catalog))
        return Response(200, body, "text/plain; charset=utf-8", _served(), whole=True)
    return await _v3(api, request, "/".join(parts[1:]))


def _served() -> Headers:
    return [(b"accept-ranges", b"bytes"), (b"last-modified", _STARTED.encode())]


async def _document(api: Api, key: str) -> bytes | None:
    """A document, made on another thread and kept while it is current."""
    known: dict[tuple[str, int], bytes] = api.cache.setdefault("openapi", {})
    place = (key, api.catalog.revision)
    found = known.get(place)
    if found is None:
        if key == _V2:
            found = await asyncio.to_thread(openapi.v2, api.catalog)
        elif key == _V2_PROTOBUF:
            found = await asyncio.to_thread(openapi.v2_protobuf, api.catalog)
        else:
            found = await asyncio.to_thread(openapi.v3, api.catalog, key)
        if found is None:
            return None
        while len(known) >= _KEPT:
            known.pop(next(iter(known)))
        known[place] = found
    return found


async def _v3(api: Api, request: Request, path: str) -> Response:
    path = path.rstrip("/")
    body = await _document(api, path)
    if body is None:
        return Response(404, b"", "")
    tag = openapi.document_hash(api.catalog, path)
    shown: Headers = [(b"etag", f'"{tag}"'.encode()), (b"vary", b"Accept")]
    wanted = request.first("hash")
    if wanted and wanted != tag:
        where = f"/openapi/v3/{path}?hash={tag}".encode()
        return Response(301, b"", "application/json", [*shown, (b"location", where)], whole=True)
    if request.headers.get("if-none-match") == f'"{tag}"':
        return Response(304, b"", "", shown)
    headers = [*_served(), *shown]
    if not wanted:
        return Response(200, body, headers=headers, whole=True)
    expires = formatdate(time.time() + _YEAR, usegmt=True).encode()
    headers.append((b"expires", expires))
    return Response(200, body, headers=headers, whole=True, cache=b"public, immutable")


async def _v2(api: Api, request: Request) -> Response:
    accepted = request.headers.get("accept", "") or "*/*"
    first = accepted.split(",")[0].split(";")[0].strip().replace("@", ".")
    binary = first == _PROTOBUF
    if not binary and "json" not in accepted and "*/*" not in accepted:
        raise not_acceptable(["application/json", _PROTOBUF])
    body = await _document(api, _V2_PROTOBUF if binary else _V2)
    assert body is not None
    tag = openapi.whole_hash(api.catalog)
    vary: Headers = [(b"etag", f'"{tag}"'.encode()), (b"vary", b"Accept-Encoding, Accept")]
    if request.headers.get("if-none-match") == f'"{tag}"':
        return Response(304, b"", "", vary)
    media = _PROTOBUF if binary else "application/json"
    return Response(200, body, media, [*_served(), *vary], whole=True)
