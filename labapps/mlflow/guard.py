"""Stand before MLflow's application: who asks, by which name, and what nobody may ask.

MLflow refuses path traversal, foreign origins and model sources by itself. It accepts any place for
the artefacts of an experiment, and it has parts that call other servers or run programs; here are
the answers to those. A token is compared, not hashed: that costs nothing a request.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from labapps.member.place import PathError
from labapps.mlflow.body import again
from labapps.mlflow.hosts import hostname
from labapps.web.asgi import Problem, Reply, Request, answer, problem

__all__ = ["Guard"]

Application = Callable[[Any, Any, Any], Awaitable[None]]
COOKIE = "mlflow-token"
CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 413: "REQUEST_LIMIT_EXCEEDED"}
OPEN = "/health"
BODY = 16 << 20
WRITES = ("POST", "PUT", "PATCH")
INSPECTED = ("experiments", "webhooks", "traces", "model-versions", "registered-models", "models")
SHUT = re.compile(r"/gateway/|/(?:ajax-)?api/[^/]+/mlflow/(?:gateway-proxy|assistant)(?:/|$)")
"""Parts of MLflow that call model providers or run programs; no lab needs them."""
SHUT_WRITES = re.compile(
    r"/(?:ajax-)?api/[^/]+/(?:jobs|mlflow/(?:gateway|jobs|prompt-optimization|mcp-servers))(?:/|$)"
    r"|/(?:ajax-)?api/[^/]+/mlflow/[^/]+(?:/[^/]+)?/invoke$"
)
PLACES = frozenset({"artifact_location", "artifactLocation", "artifact_uri", "artifactUri"})
TAG = "mlflow.artifactLocation"


class Guard:
    """An ASGI application before MLflow's."""

    def __init__(self, application: Application, resolve: Callable[[str], Any]) -> None:
        self.application = application
        self.resolve = resolve
        self.tokens: frozenset[str] = frozenset()
        self.hosts: frozenset[str] = frozenset()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"Expected an http request; found {scope['type']}.")
        request = Request(scope, receive)
        try:
            if request.path == OPEN:
                await self.application(scope, receive, send)
                return
            self._check_host(request)
            reply = self._sign_in(request)
            if reply is not None:
                await answer(send, reply)
                return
            self._check_path(request)
            if request.method in WRITES and _is_inspected(request.path):
                body = await request.body(BODY)
                self._check_body(request.path, body)
                receive = again(body, receive)
            await self.application(_without_own_origin(scope, request), receive, send)
        except Problem as error:
            error.body |= _in_words_of_mlflow(error)
            reply = problem(error)
            if error.status == 401:
                reply.headers.append((b"www-authenticate", b'Basic realm="MLflow"'))
            await answer(send, reply)

    def _check_host(self, request: Request) -> None:
        name = hostname(request.header(b"host"))
        if name not in self.hosts:
            raise Problem(
                403,
                f"This server is not called {name or 'nothing'}.",
                expected="the name of its service, of the gateway, or localhost; other names of "
                "the gateway belong into GATEWAY_HOSTS",
            )

    def _sign_in(self, request: Request) -> Reply | None:
        """Let bearers of the token pass; a browser that shows it in the address keeps a cookie."""
        if any(self._is_token(given) for given in _tokens(request)):
            return None
        if request.method == "GET" and self._is_token(request.query.get("X-Auth-Token", "")):
            return _remember(request)
        raise Problem(
            401,
            "The token is missing, or is not this server's.",
            expected="MLFLOW_TRACKING_TOKEN (or Authorization: Bearer …): the value of annotation "
            "kubedirector.hpe.com/kd-auth-token of the controller's service; in a browser it is "
            "the password of any user name",
        )

    def _is_token(self, given: str) -> bool:
        text = given.encode("utf-8", "replace")
        return True in {hmac.compare_digest(text, token.encode()) for token in self.tokens}

    def _check_path(self, request: Request) -> None:
        path = re.sub("/+", "/", request.path)
        if SHUT.match(path) or (request.method != "GET" and SHUT_WRITES.match(path)):
            raise Problem(403, f"{request.path} is shut off on this server.")

    def _check_body(self, path: str, body: bytes) -> None:
        try:
            document = json.loads(body) if body else {}
        except (ValueError, RecursionError) as error:
            raise Problem(
                400, f"The body is not JSON: {error}.", expected="a JSON object"
            ) from None
        for key, value in _texts(document):
            if "\0" in value:
                raise Problem(400, f"{key or 'A value'} has a zero byte.", expected="text")
            if key in PLACES:
                self._check_place(value)
            if key == "url" and "webhooks" in path and urlsplit(value.strip()).scheme != "https":
                raise Problem(400, f"A webhook to {value!r} is refused.", expected="https://…")

    def _check_place(self, value: str) -> None:
        """Refuse artefacts that this server would read or write outside of the tenant."""
        parts = urlsplit(value.strip())
        if not value.strip() or (parts.scheme == "mlflow-artifacts" and not parts.netloc):
            return
        try:
            if parts.scheme in ("", "file") and parts.netloc in ("", "localhost"):
                self.resolve(unquote(parts.path))
                return
            raise PathError(f"found {value!r}")
        except (PathError, ValueError) as error:
            raise Problem(
                400,
                f"Artefacts at {value!r} are refused: {error}",
                expected="no artifact_location at all, mlflow-artifacts:/…, or a folder of the "
                "project repository",
            ) from error


def _in_words_of_mlflow(error: Problem) -> dict[str, str]:
    """Return the fields from which MLflow's client makes its exception."""
    code = CODES.get(error.status, "INVALID_PARAMETER_VALUE")
    expected = error.body.get("expected")
    return {
        "error_code": code,
        "message": f"{error} Expected: {expected}" if expected else f"{error}",
    }


def _tokens(request: Request) -> Iterator[str]:
    """Yield what the request shows: header, bearer, password, cookie."""
    yield request.header(b"x-auth-token")
    scheme, _, value = request.header(b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip()
    if scheme.lower() == "basic":
        try:
            yield base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return
    try:
        jar = SimpleCookie(request.header(b"cookie"))
    except CookieError:
        return
    if COOKIE in jar:
        yield jar[COOKIE].value


def _remember(request: Request) -> Reply:
    """Send the browser to the same address without the token, which it keeps out of scripts."""
    query = {key: value for key, value in request.query.items() if key != "X-Auth-Token"}
    # Always one path on this server: `//host` would lead to another one.
    where = "/" + request.path.lstrip("/\\") + (f"?{urlencode(query)}" if query else "")
    kept = f"{COOKIE}={request.query['X-Auth-Token']}; Path=/; HttpOnly; SameSite=Strict"
    secure = "" if hostname(request.header(b"host")) == "localhost" else "; Secure"
    headers = [(b"location", where.encode()), (b"set-cookie", f"{kept}{secure}".encode())]
    return Reply(303, headers=headers)


def _is_inspected(path: str) -> bool:
    return "/mlflow-artifacts/" not in path and any(f"/{part}" in path for part in INSPECTED)


def _texts(document: Any) -> Iterator[tuple[str, str]]:
    """Yield each text of a JSON document with its key; that of an artefact tag as a place."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, list):
            waiting += [(key, one) for one in value]
        elif isinstance(value, dict):
            is_tag = value.get("key") == TAG
            for name, one in value.items():
                is_place = name == TAG or (is_tag and name == "value")
                waiting.append(("artifact_location" if is_place else str(name), one))


def _without_own_origin(scope: Any, request: Request) -> Any:
    """Take a page of this server for no foreign one: MLflow knows no gateway's name."""
    origin, host = request.header(b"origin"), request.header(b"host")
    if not origin or urlsplit(origin).netloc != host:
        return scope
    return scope | {"headers": _drop(scope["headers"], b"origin")}


def _drop(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[tuple[bytes, bytes]]:
    return [pair for pair in headers if pair[0] != name]
