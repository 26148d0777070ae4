"""A small blocking client for tests: one kept-open connection, JSON in and out."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from tests.sandbox.conftest import ApiServer

Json = dict[str, Any]
MERGE = "application/merge-patch+json"


class Caller:
    """Calls a server as its administrator, or with a token, or as nobody."""

    def __init__(
        self, server: ApiServer, token: str | None = None, *, anonymous: bool = False
    ) -> None:
        context = ssl.create_default_context(cafile=str(server.ca))
        if token is None and not anonymous:
            context.load_cert_chain(*server.certificate)
        parts = urlsplit(server.url)
        self._http = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, context=context, timeout=30
        )
        self.headers = {"Accept": "application/json"}
        self.response: http.client.HTTPResponse | None = None
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Json | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one request."""
        self._http.request(method, path, body, {**self.headers, **(headers or {})})
        response = self._http.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()

    def __call__(
        self, method: str, path: str, body: Any = None, media: str = "application/json"
    ) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": media}
        status, _, found = self.raw(method, path, data, headers)
        return status, json.loads(found) if found else None

    def stream(self, path: str) -> http.client.HTTPResponse:
        """Open a watch; read its events line by line."""
        self._http.request("GET", path, headers=self.headers)
        self.response = self._http.getresponse()
        return self.response

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
        self._http.close()

    def __del__(self) -> None:
        self.close()


def config_map(name: str, **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": data or {"a": "1"},
    }


def make_namespace(call: Caller, name: str) -> str:
    """Create a namespace; returns the path of its ConfigMaps."""
    status, body = call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert status in (201, 409), body
    return f"/api/v1/namespaces/{name}/configmaps"
