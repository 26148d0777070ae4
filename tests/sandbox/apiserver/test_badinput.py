"""What a client may send by mistake or malice: a proper Status, bounded memory, and on it goes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest

from tests.sandbox.apiserver.client import Caller, config_map, make_namespace
from tests.sandbox.conftest import ApiServer

pytestmark = pytest.mark.sandbox
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def path(fresh_apiserver: ApiServer) -> str:
    return make_namespace(Caller(fresh_apiserver), "bad")


@pytest.fixture
def call(fresh_apiserver: ApiServer) -> Iterator[Caller]:
    """A connection of the test's own; afterwards the server must still answer."""
    caller = Caller(fresh_apiserver)
    yield caller
    caller.close()
    again = Caller(fresh_apiserver)
    assert again("GET", "/version")[0] == 200
    again.close()


def memory(server: ApiServer) -> float:
    assert server.process is not None
    return float(psutil.Process(server.process.pid).memory_info().rss) / 2**20


def connect(server: ApiServer) -> ssl.SSLSocket:
    """A bare TLS connection, for what no HTTP library would send."""
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(*server.certificate)
    parts = urlsplit(server.url)
    plain = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)
    return context.wrap_socket(plain, server_hostname=parts.hostname)


MALFORMED = {
    "cut off": b'{"apiVersion":"v1",',
    "not JSON": b"<xml/>",
    "a number": b"17",
    "a list": b"[1,2]",
    "text after": b'{"kind":"ConfigMap"}garbage',
    "NaN": b'{"kind":"ConfigMap","metadata":{"generation":NaN}}',
    "NUL": b"\x00\x00\x00",
    "kind is a list": b'{"kind":[1],"apiVersion":"v1"}',
    "metadata is text": b'{"kind":"ConfigMap","apiVersion":"v1","metadata":"x"}',
    "name is a number": b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":7}}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a lone surrogate": b'{"kind":"ConfigMap","metadata":{"name":"\\ud800"}}',
    "invalid UTF-8": b'{"kind":"ConfigMap","metadata":{"name":"\xff\xfe"}}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_body_gets_a_status(call: Caller, path: str, name: str) -> None:
    status, headers, body = call.raw("POST", path, MALFORMED[name], JSON)
    assert 400 <= status < 500, body[:300]
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["kind"] == "Status"


def test_deep_nesting_in_a_patch_is_refused(call: Caller, path: str) -> None:
    call("POST", path, config_map("deep"))
    body = b'{"data":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}"
    for media in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        status, _, found = call.raw("PATCH", f"{path}/deep", body, {"Content-Type": media})
        assert 400 <= status < 500, found[:200]


def test_yaml_bomb_is_refused(call: Caller, path: str) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    body = "\n".join(lines).encode()
    status, _, found = call.raw("POST", path, body, {"Content-Type": "application/yaml"})
    assert 400 <= status < 500, found[:200]


def test_duplicate_keys_warn_and_strict_refuses(call: Caller, path: str) -> None:
    body = (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"dup"},"data":{"a":"1","a":"2"}}'
    )
    status, headers, _ = call.raw("POST", f"{path}?dryRun=All", body, JSON)
    assert status == 201
    assert "duplicate field" in headers["warning"]
    assert call.raw("POST", f"{path}?fieldValidation=Strict", body, JSON)[0] == 400


def test_large_body_is_refused_without_being_kept(
    fresh_apiserver: ApiServer, call: Caller, path: str
) -> None:
    before = memory(fresh_apiserver)
    body = b'{"data":{"a":"' + b"x" * 100_000_000
    status, _, found = call.raw("POST", path, body, JSON)
    assert status == 413
    assert json.loads(found)["reason"] == "RequestEntityTooLarge"
    assert memory(fresh_apiserver) - before < 40


def test_endless_body_is_cut_off(fresh_apiserver: ApiServer, call: Caller, path: str) -> None:
    before = memory(fresh_apiserver)
    with connect(fresh_apiserver) as stream:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        stream.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b'"' * 65536 + b"\r\n"
        sent = 0
        try:
            for _ in range(10_000):
                stream.sendall(chunk)
                sent += len(chunk)
                if sent > 200_000_000:
                    break
        except OSError:
            pass
        assert memory(fresh_apiserver) - before < 40


def test_endless_header_is_cut_off(fresh_apiserver: ApiServer, call: Caller) -> None:
    before = memory(fresh_apiserver)
    with connect(fresh_apiserver) as stream:
        stream.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Long: ")
        with contextlib.suppress(OSError):
            for _ in range(2000):
                stream.sendall(b"x" * 65536)
        assert memory(fresh_apiserver) - before < 40


def test_long_but_sane_header_is_read(call: Caller) -> None:
    assert call.raw("GET", "/version", None, {"X-Long": "x" * 20_000})[0] == 200


PATHS = {
    "/api/v1/namespaces/../../../etc/passwd": 404,
    "/api/v1/namespaces/bad/configmaps/%2e%2e%2f%2e%2e": None,
    "/api/v1/namespaces/bad/configmaps/a%00b": None,
    "//api//v1": 404,
    "/api/v1/namespaces/bad/configmaps/a/b/c/d": 404,
    "/apis/../api/v1/namespaces": 200,
    "/%61pi/v1/namespaces": 200,
    "/api/v1/" + "x" * 20_000: None,
}


@pytest.mark.parametrize("path_", PATHS)
def test_odd_path_gets_a_plain_answer(call: Caller, path: str, path_: str) -> None:
    status, _, body = call.raw("GET", path_)
    assert status < 500, body[:200]
    if PATHS[path_] is not None:
        assert status == PATHS[path_]


def test_garbage_instead_of_http_gets_400(fresh_apiserver: ApiServer, call: Caller) -> None:
    for garbage in (b"\x16\x03\x01\x00\xff" * 20, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        with connect(fresh_apiserver) as stream:
            stream.sendall(garbage)
            assert b"400" in stream.recv(1000)[:20]


def test_plain_http_on_the_port_is_closed(fresh_apiserver: ApiServer, call: Caller) -> None:
    parts = urlsplit(fresh_apiserver.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"200" not in stream.recv(1000)


def test_many_watches_stay_cheap_and_all_get_the_event(
    fresh_apiserver: ApiServer, call: Caller, path: str
) -> None:
    _, listed = call("GET", path)
    revision = listed["metadata"]["resourceVersion"]
    before = memory(fresh_apiserver)
    request = (
        f"GET {path}?watch=1&resourceVersion={revision} HTTP/1.1\r\nHost: x\r\n\r\n"
    ).encode()
    streams = []
    try:
        for _ in range(1000):
            # At once, as a client does: who is silent for HEAD_SECONDS is disconnected.
            streams.append(connect(fresh_apiserver))
            streams[-1].sendall(request)
        for stream in streams:
            assert b"200 OK" in stream.recv(2000)
        assert memory(fresh_apiserver) - before < 150
        assert call("POST", path, config_map("for-all"))[0] == 201
        for stream in streams:
            assert b"for-all" in stream.recv(4000)
    finally:
        for stream in streams:
            stream.close()


def test_client_that_never_reads_is_cut_off(
    fresh_apiserver: ApiServer, call: Caller, path: str
) -> None:
    _, listed = call("GET", path)
    revision = listed["metadata"]["resourceVersion"]
    before = memory(fresh_apiserver)
    with connect(fresh_apiserver) as stream:
        stream.sendall(
            f"GET {path}?watch=1&resourceVersion={revision} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        assert b"200 OK" in stream.recv(2000)
        call("POST", path, config_map("fat"))
        for number in range(60):
            body = {"data": {"text": "x" * 200_000, "n": str(number)}}
            assert call("PATCH", f"{path}/fat", body, "application/merge-patch+json")[0] == 200
        assert memory(fresh_apiserver) - before < 60
        received = 0
        try:
            while data := stream.recv(1_000_000):
                received += len(data)
        except OSError:
            pass
        assert received < 60 * 200_000, "the server kept everything for a client that did not read"
