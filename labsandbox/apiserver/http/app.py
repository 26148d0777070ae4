"""The way of a request: who is it, may they, then the path to what answers it.

Why not aiohttp, as in the rest of the platform: a request costs the same 31 µs of processor time in
both (`python -m benchmarks.http`), and this server needs what a web framework hides: the client's
certificate, the transport for tunnels and for bytes that many watches share, an answer to unknown
methods, chunks from 2 kB on as Go sends them, and a 503 when memory ends in the middle of a head.
"""

from __future__ import annotations

import logging
from typing import Any

from labsandbox.apiserver import work
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.authorization import (
    ImpersonationError,
    attributes_of,
    check,
    impersonated,
)
from labsandbox.apiserver.http.exhaustion import refusal
from labsandbox.apiserver.http.request import Receive, Request, Scope, Send
from labsandbox.apiserver.http.response import Response, failure, send, text
from labsandbox.apiserver.http.routes import route
from labsandbox.apiserver.status import StatusError, internal_error

_LOG = logging.getLogger(__name__)


class App:
    """The ASGI application."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send_: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send_)
        try:
            response = await self._respond(request)
            if response is not None:
                await send(response, request)
        finally:
            request.release()

    async def _respond(self, request: Request) -> Response | None:
        try:
            return await self._answer(request)
        except StatusError as error:
            if error.code in (413, 429):
                await request.discard_body()
            response = failure(error, request)
            if error.code == 403 and getattr(error, "by_policy", False):
                response.headers.append((b"x-content-type-options", b"nosniff"))
            return response
        except ImpersonationError as error:
            return text(500, f'Internal Server Error: "{request.path}": {error}\n')
        except ConnectionResetError:
            return None
        except MemoryError:
            return failure(refusal(f"{request.method} {request.path}"), request)
        except Exception:
            _LOG.exception("%s %s failed", request.method, request.path)
            return failure(
                internal_error(
                    "This is a bug in labsandbox; please report it with the output of "
                    "`labsandbox logs`."
                ),
                request,
            )

    async def _answer(self, request: Request) -> Response | None:
        api = self._api
        user = await api.authenticator.authenticate(request)
        try:
            user = impersonated(api.rbac, user, request)
            request.user = user
            work.begin(user.name)
            check(api.rbac, user, attributes_of(request))
        except StatusError as error:
            error.by_policy = True  # type: ignore[attr-defined]
            raise
        return await route(api, request)


def build(api: Api) -> Any:
    """The application uvicorn runs."""
    return App(api)
