"""Requests made up from the served OpenAPI documents: no fault of the server, no hang.

2,000 requests in `make test`, 20,000 in the nightly form.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from tests.sandbox.conftest import ApiServer

GROUPS = (
    "api",
    "api/v1",
    "apis",
    "apis/apiextensions.k8s.io/v1",
    "apis/apps/v1",
    "apis/authentication.k8s.io/v1",
    "apis/authorization.k8s.io/v1",
    "apis/autoscaling/v2",
    "apis/batch/v1",
    "apis/coordination.k8s.io/v1",
    "apis/discovery.k8s.io/v1",
    "apis/events.k8s.io/v1",
    "apis/networking.k8s.io/v1",
    "apis/policy/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/scheduling.k8s.io/v1",
    "apis/storage.k8s.io/v1",
    "version",
)
# What a real kube-apiserver answers with 5xx too (see the recordings), word for word.
FAITHFUL = re.compile(
    r"resourceVersion should not be set on objects to be created"
    r"|resourceVersion: Invalid value"
    r"|field not declared in schema|failed to create typed patch object"
    r"|Too large resource version"
    r"|no endpoints available for service"
    r"|\"message\": ?\"\[?target\.(kind: Unsupported value|name: Required value)"
    r"|couldn't get version/kind; json parse error"
    r"|unable to decode|error decoding|unexpected end of JSON input|invalid character"
)
SECONDS = 10.0
ROUND = 50
pytestmark = pytest.mark.sandbox


class Caller:
    """Sends made-up requests as the administrator and judges the answers."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.verify = str(server.ca)
        self.session.cert = server.certificate
        self.session.trust_env = False
        self.count = 0
        self.slowest = (0.0, "")

    def documents(self) -> Iterator[dict[str, Any]]:
        """The OpenAPI documents of the groups under test."""
        index = self.session.get(f"{self.server.url}/openapi/v3", timeout=30).json()["paths"]
        for group in GROUPS:
            if group in index:
                url = self.server.url + index[group]["serverRelativeURL"]
                yield self.session.get(url, timeout=60).json()

    def call(self, case: schemathesis.Case) -> None:
        """Send one request; anything but a proper answer within the time is a failure."""
        _bound(case)
        begun = time.monotonic()
        try:
            answer = case.call(
                base_url=self.server.url,
                session=self.session,
                timeout=SECONDS,
                verify=str(self.server.ca),
            )
        except requests.exceptions.InvalidHeader:
            return
        self.count += 1
        self.slowest = max(self.slowest, (time.monotonic() - begun, f"{case.method} {case.path}"))
        text = answer.text
        assert "This is a bug in labsandbox" not in text, (
            f"{_show(case)}\n{self.server.log[-2500:]}"
        )
        if answer.status_code >= 500:
            assert FAITHFUL.search(text), f"{_show(case)}\n{answer.status_code} {text[:500]}"
        if answer.status_code >= 400 and answer.headers.get("Content-Type") == "application/json":
            assert answer.json()["kind"] == "Status", f"{_show(case)}\n{text[:500]}"


def _bound(case: schemathesis.Case) -> None:
    """Keep a request from waiting for what will never come: that is no fault, only slow."""
    query = case.query or {}
    # An empty value is true as well.
    query = {key: value for key, value in query.items() if key not in ("watch", "follow")}
    if str(query.get("resourceVersion", "0")).isdigit():
        query.pop("resourceVersion", None)
    case.query = query


def _show(case: schemathesis.Case) -> str:
    return f"{case.method} {case.path} {case.path_parameters} {case.query} {str(case.body)[:600]}"


@pytest.fixture(scope="module")
def caller(fresh_apiserver: ApiServer) -> Caller:
    return Caller(fresh_apiserver)


@pytest.fixture(scope="module")
def operations(caller: Caller) -> list[Any]:
    """Every operation served, but the deprecated watch paths."""
    found = []
    for document in caller.documents():
        schema = schemathesis.openapi.from_dict(document)
        for result in schema.get_all_operations():
            operation = result.ok()
            if "/watch/" not in operation.path and "/proxy" not in operation.path:
                found.append(operation)
    assert len(found) > 300
    return found


def _fuzz(caller: Caller, operations: list[Any], examples: int, seconds: float) -> None:
    """Send examples in rounds, until there are enough or the time is up."""
    deadline = time.monotonic() + seconds
    strategies: dict[int, Any] = {}
    numbers = st.integers(0, len(operations) - 1)

    def cases(number: int) -> Any:
        if number not in strategies:
            operation = operations[number]
            strategies[number] = st.one_of(
                operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
                operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
            )
        return strategies[number]

    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        caller.call(data.draw(cases(data.draw(numbers))))

    while caller.count < examples and time.monotonic() < deadline:
        run()


@pytest.mark.timeout(240)
def test_schema_requests_meet_no_fault(caller: Caller, operations: list[Any]) -> None:
    _fuzz(caller, operations, 2_000, 90)
    print(f"{caller.count} requests, slowest {caller.slowest}")
    assert caller.count > 300
    healthy = caller.session.get(f"{caller.server.url}/readyz", timeout=5)
    assert healthy.text == "ok"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_schema_many_requests_meet_no_fault(caller: Caller, operations: list[Any]) -> None:
    _fuzz(caller, operations, 20_000, 3000)
    healthy = caller.session.get(f"{caller.server.url}/readyz", timeout=5)
    assert healthy.text == "ok"
