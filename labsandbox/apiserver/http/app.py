"""The way of a request: who is it, may they, then the path to what answers it."""

from __future__ import annotations

import logging
from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.authorization import (
    ImpersonationError,
    attributes_of,
    check,
    impersonated,
)
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
            response = await self._answer(request)
        except StatusError as error:
            if error.code == 413:
                await request.discard_body()
            response = failure(error, request)
            if error.code == 403 and getattr(error, "by_policy", False):
                response.headers.append((b"x-content-type-options", b"nosniff"))
        except ImpersonationError as error:
            response = text(500, f'Internal Server Error: "{request.path}": {error}\n')
        except ConnectionResetError:
            return
        except Exception:
            _LOG.exception("%s %s failed", request.method, request.path)
            response = failure(
                internal_error(
                    "This is a bug in labsandbox; please report it with the output of "
                    "`labsandbox logs`."
                ),
                request,
            )
        if response is not None:
            await send(response, request)

    async def _answer(self, request: Request) -> Response | None:
        api = self._api
        user = await api.authenticator.authenticate(request)
        try:
            user = impersonated(api.rbac, user, request)
            request.user = user
            check(api.rbac, user, attributes_of(request))
        except StatusError as error:
            error.by_policy = True  # type: ignore[attr-defined]
            raise
        return await route(api, request)


def build(api: Api) -> Any:
    """The application uvicorn runs."""
    return App(api)
