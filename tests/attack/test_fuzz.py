"""Requests and manifests made at random, the same for the same seed: none is answered with 5xx.

`ATTACK_SEED=7 python -m pytest tests/attack/test_fuzz.py` tries others.
"""

from __future__ import annotations

import copy
import json
import os
import random
import socket
import ssl
from typing import Any

import pytest

from labsandbox.apiserver.http.request import MAX_BODY
from tests.attack import oddities
from tests.attack.neighbour import Client, Request
from tests.sandbox.conftest import ApiServer

SEED = int(os.environ.get("ATTACK_SEED", "1"))
COUNTS = [
    pytest.param(300, marks=pytest.mark.sandbox),
    pytest.param(10_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
]
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, 1e308, "", " ", "\0", "\u00b2",
    "\ud800", "9" * 5_000, "../..", "a/b", "x" * 70_000, "$(A)", "{{", [], {}, [[]], [None],
    {"": {}},
    {"metadata": None}, {"$patch": "delete"}, [{}] * 50,
)  # fmt: skip
METHODS = ("GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "get")
PATHS = (
    "/api/v1/namespaces/default/configmaps", "/api/v1/pods", "/apis", "/version", "/openapi/v2",
    "/apis/apps/v1/namespaces/default/deployments/x/scale", "/api/v1/namespaces/default/pods/x/log",
    "/api/v1/namespaces/default/pods/x/exec", "/api/v1/namespaces/default/services/x:1/proxy/",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "/healthz", "/metrics", "/",
)  # fmt: skip
QUERIES = (
    "limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector",
    "fieldSelector",
    "watch", "timeoutSeconds", "timeout", "fieldManager", "fieldValidation", "dryRun", "force",
    "pretty", "propagationPolicy", "gracePeriodSeconds", "command", "container", "tailLines",
    "sinceTime", "sendInitialEvents", "allowWatchBookmarks", "includeObject", "ports",
)  # fmt: skip
TEXTS = (
    "", "0", "-1", "1", "true", "All", "\u00b2", "9" * 5_000, "2147483648", "a=b,c!=d", "a in (b",
    "%00", "%ff", "..", "1h", "1e9s", "-", "x" * 3_000, "eyJhIjoxfQ==", "NotOlderThan", "()",
    "metadata.name=",
)  # fmt: skip
HEADERS = (
    "Accept", "Content-Type", "Impersonate-User", "Impersonate-Group", "Impersonate-Extra-x",
    "If-Match",
    "Authorization", "Expect", "Accept-Encoding", "Content-Encoding", "User-Agent", "Connection",
    "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "X-Stream-Protocol-Version", "Range",
)  # fmt: skip
VALUES = (
    "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=", "application/yaml",
    "application/vnd.kubernetes.protobuf", "text/html", "*/*;q=\u00b2",
    "application/merge-patch+json",
    "application/apply-patch+yaml", "gzip", "Bearer x", "Basic !", "100-continue", "Upgrade",
    "SPDY/3.1",
    "websocket", "system:admin", "a" * 5_000, "bytes=0-", ";;;", ",", "v5.channel.k8s.io",
)  # fmt: skip


def _spoil(value: Any, chance: random.Random) -> Any:
    """Replace a random part of a manifest by something odd."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            value[chance.choice(("", "x" * 300, "\u00b2", "$ref"))] = chance.choice(ODD)
        value[key] = _spoil(value[key], chance)
        return value
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        value[at] = _spoil(value[at], chance)
        return value
    return copy.deepcopy(chance.choice(ODD))


@pytest.mark.parametrize("count", COUNTS)
def test_manifests_are_taken_or_refused_with_a_reason(server: ApiServer, count: int) -> None:
    chance = random.Random(SEED)
    client = Client(server)
    taken = 0
    try:
        for resource, made in oddities.make(count, SEED):
            obj = {"apiVersion": resource.api_version, "kind": resource.kind, **made}
            for _ in range(chance.choice((0, 1, 1, 2))):
                obj = _spoil(obj, chance)
            path = f"{resource.path('default')}?dryRun=All"
            request = Request("POST", path, json.dumps(obj).encode())
            status, body = client.send(request)
            assert status < 500, (obj, body[:1000])
            taken += status == 201
    finally:
        client.close()
    assert 0 < taken < count


REAL_FAULTS = (
    b"without impersonating",
    b"resourceVersion: Invalid value",
    b"couldn't get version/kind; json parse error",
)


def _raw(chance: random.Random) -> bytes:
    method = chance.choice(
        ("GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "get")
    )
    path = chance.choice(PATHS) + chance.choice(("", "/", "/x", "//", "/%2e%2e", "/\u00b2", "/%00"))
    # Watches of an hour would only hold up the test.
    query = "&".join(
        f"{chance.choice(QUERIES)}={chance.choice(TEXTS)}" for _ in range(chance.randrange(4))
    )
    lines = [f"{method} {path}?{query}&timeoutSeconds=1 HTTP/1.1", "Host: x", "Connection: close"]
    lines += [
        f"{chance.choice(HEADERS)}: {chance.choice(VALUES)}" for _ in range(chance.randrange(4))
    ]
    body = json.dumps(_spoil({"metadata": {"name": "x"}, "spec": {}}, chance)).encode()
    body = body[: chance.randrange(len(body) + 1)] if chance.random() < 0.3 else body
    length = chance.choice((len(body), len(body), len(body), 0, "\u00b2", "-1", MAX_BODY * 2))
    lines.append(f"Content-Length: {length}")
    raw = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass") + body
    if chance.random() < 0.15:
        at = chance.randrange(len(raw))
        raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
    return raw


def _answer(server: ApiServer, raw: bytes, context: ssl.SSLContext) -> bytes:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        found = b""
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as stream:
            try:
                stream.sendall(raw)
                stream.settimeout(5)
                while chunk := stream.recv(65536):
                    found += chunk
            except (OSError, ssl.SSLError):
                pass  # a body that was promised and never comes, or a stream that goes on
        return found


@pytest.mark.parametrize("count", COUNTS)
def test_requests_are_answered_without_a_fault(server: ApiServer, count: int) -> None:
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(*server.certificate)
    chance = random.Random(SEED)
    for number in range(count // 3):
        raw = _raw(chance)
        found = _answer(server, raw, context)
        status = found[9:12]
        if status.startswith(b"5") and raw.startswith(b"HEAD "):
            found = _answer(server, b"GET " + raw.removeprefix(b"HEAD "), context)  # the words
        # Impersonation, and the options of a DELETE that cannot be read, answer 500 in words of
        # their own, as the real server does.
        is_told = any(words in found for words in REAL_FAULTS)
        assert not status.startswith(b"5") or is_told or status in (b"503", b"504"), (
            number,
            raw[:2000],
            found[:1000],
        )
    assert "Traceback" not in server.log
    client = Client(server)
    assert client.send(Request("GET", "/version"))[0] == 200
    client.close()


@pytest.mark.sandbox
@pytest.mark.parametrize("number", ["9" * 5_000, "%C2%B2", "-", "%D9%A1"])
def test_odd_numbers_in_queries_are_refused(server: ApiServer, number: str) -> None:
    client = Client(server)
    try:
        for name in ("limit", "timeoutSeconds"):
            path = f"/api/v1/namespaces/default/configmaps?{name}={number}"
            assert client.send(Request("GET", path))[0] == 400
    finally:
        client.close()
