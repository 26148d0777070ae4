"""Bodies, paths and headers no client would send: refused with a Status, and the server goes on."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.conftest import ApiServer

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]
MAPS = "/api/v1/namespaces/default/configmaps"
TYPES = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/plain",
)
START = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"f"},"data":{"a":"b"}}'
BUG = b"This is a bug in labsandbox"


class Sender:
    """One connection of the administrator, opened again when the server closed it."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        parts = urlsplit(server.url)
        self._host, self._port = parts.hostname or "", parts.port
        self._tls = ssl.create_default_context(cafile=str(server.ca))
        self._tls.load_cert_chain(*server.certificate)
        self._connection: http.client.HTTPSConnection | None = None

    def send(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Send a request and read the answer."""
        for _ in range(2):
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, context=self._tls, timeout=15
                )
            try:
                self._connection.request(method, path, body, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError):
                self.close()
        return 0, b""

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@pytest.fixture(scope="module")
def sender(fresh_apiserver: ApiServer) -> Any:
    found = Sender(fresh_apiserver)
    yield found
    found.close()


quick = settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _judge(sender: Sender, status: int, answer: bytes) -> None:
    assert BUG not in answer, sender.server.log[-2500:]
    assert status, "the server closed the connection twice"
    if status >= 400 and answer.startswith(b"{"):
        assert json.loads(answer)["kind"] == "Status"


@quick
@given(st.binary(max_size=200), st.sampled_from(TYPES), st.integers(0, len(START)))
def test_bytes_of_any_body_get_a_status(sender: Sender, noise: bytes, kind: str, cut: int) -> None:
    for body in (noise, START[:cut] + noise, START[:cut] + noise + START[cut:]):
        headers = {"Content-Type": kind}
        _judge(sender, *sender.send("POST", MAPS, body, headers))
        _judge(sender, *sender.send("PUT", f"{MAPS}/f", body, headers))
        _judge(sender, *sender.send("PATCH", f"{MAPS}/f?fieldManager=f", body, headers))


PATHS = st.text(
    st.sampled_from("abz/.%2F0:;?&=#@-_~+\\ \t\u00e9".replace(" ", "").replace("\t", "")),
    max_size=60,
)


@quick
@given(PATHS, st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "FROB")))
def test_bytes_of_any_path_get_an_answer(sender: Sender, path: str, method: str) -> None:
    target = "/" + path.encode("ascii", "ignore").decode()
    for prefix in ("", "/api/v1", "/apis/apps/v1/namespaces", "/openapi"):
        status, answer = sender.send(method, prefix + target, b"", {})
        _judge(sender, status, answer)
        assert status < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)


@quick
@given(JSON, JSON, st.sampled_from(("pods", "services", "configmaps", "secrets", "namespaces")))
def test_bytes_of_any_document_get_a_status(
    sender: Sender, metadata: Any, spec: Any, plural: str
) -> None:
    kinds = {"pods": "Pod", "services": "Service", "configmaps": "ConfigMap", "secrets": "Secret"}
    document = {
        "apiVersion": "v1",
        "kind": kinds.get(plural, "Namespace"),
        "metadata": metadata,
        "spec": spec,
        "data": spec,
    }
    path = (
        "/api/v1/namespaces" if plural == "namespaces" else f"/api/v1/namespaces/default/{plural}"
    )
    body = json.dumps(document).encode()
    _judge(
        sender,
        *sender.send("POST", f"{path}?dryRun=All", body, {"Content-Type": "application/json"}),
    )
    _judge(
        sender,
        *sender.send(
            "PATCH",
            f"{path}/f?fieldManager=f&dryRun=All",
            body,
            {"Content-Type": "application/apply-patch+yaml"},
        ),
    )


@pytest.mark.parametrize("depth", [50, 5_000, 500_000])
def test_bytes_nested_deep_are_refused_or_read(sender: Sender, depth: int) -> None:
    body = (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":'
        + b'{"a":' * depth
        + b"1"
        + b"}" * depth
    )
    for kind in ("application/json", "application/yaml", "application/merge-patch+json"):
        _judge(sender, *sender.send("POST", MAPS, body + b"}", {"Content-Type": kind}))


def test_bytes_of_a_hundred_megabytes_are_too_many(sender: Sender) -> None:
    body = b'{"data":{"a":"' + b"x" * (100 << 20) + b'"}}'
    status, _ = sender.send("POST", MAPS, body, {"Content-Type": "application/json"})
    sender.close()
    assert status in (0, 413)
    assert sender.send("GET", "/readyz", b"", {})[1] == b"ok"
