"""A lab that is opened after a restart waits for its application instead of failing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from labhelpers import cluster
from labhelpers.deadline import WaitTimeout, wait
from tests.serving import serving

pytestmark = pytest.mark.fast


@contextmanager
def service(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """Serve these statuses, the last one from then on; give the address, and the tokens seen."""
    left, tokens = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers["X-Auth-Token"])
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield address, tokens


def call(monkeypatch: pytest.MonkeyPatch, address: str) -> tuple[Any, str]:
    monkeypatch.setattr(cluster, "settings", lambda: SimpleNamespace(ca="ca.crt"))
    monkeypatch.setattr(cluster, "token", lambda *_: "secret")
    monkeypatch.setattr(cluster, "endpoints", lambda *_: {8080: address})
    return cluster.caller(SimpleNamespace(), "airflow-ann", "controller", 8080)  # type: ignore[arg-type]


def test_caller_waits_while_the_gateway_has_no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    with service(503, 502, 404) as (address, tokens):
        http, found = call(monkeypatch, address)
        http.close()
    assert found == address
    assert tokens == ["secret"] * 3


def test_service_that_never_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*given: Any, **more: Any) -> Any:
        return wait(*given, **more | {"deadline": min(0.1, more.get("deadline", 9)), "every": 0.05})

    monkeypatch.setattr(cluster, "wait", short)
    with service(503) as (address, _), pytest.raises(WaitTimeout) as failed:
        call(monkeypatch, address)
    assert f"airflow-ann to answer at {address}; last seen: HTTP 503" in str(failed.value)


def test_pod_whose_log_has_no_content_yet_is_passed_over() -> None:
    """A server answers 204 for the log of a pod that no node has, and the client returns None."""
    pods = {
        "kind": "PodList",
        "apiVersion": "v1",
        "items": [{"metadata": {"name": "ann-0", "namespace": "team"}, "status": {}}],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_log = self.path.partition("?")[0] == "/api/v1/namespaces/team/pods/ann-0/log"
            body = b"" if is_log else json.dumps(pods).encode()
            self.send_response(204 if is_log else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            asked.append(self.path)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    asked: list[str] = []
    with serving(Handler) as address:
        core = client.CoreV1Api(client.ApiClient(client.Configuration(host=address)))
        found = cluster._last_words(SimpleNamespace(core=core, namespace="team"), "ann")  # type: ignore[arg-type]
    assert found == ""
    assert "/log" in asked[-1]
