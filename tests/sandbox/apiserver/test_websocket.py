"""Watches over a WebSocket, as Java's client library asks for them (Spark, operators)."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.sandbox.conftest import ApiServer

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(60)]

PATH = "/api/v1/namespaces/default/configmaps"


def opened(server: ApiServer, query: str, protocol: str = "") -> ClientConnection:
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(*server.certificate)
    url = server.url.replace("https", "wss") + f"{PATH}?watch=true&{query}"
    offered = [Subprotocol(protocol)] if protocol else None
    return connect(url, ssl=context, subprotocols=offered, open_timeout=10, close_timeout=5)


def create(server: ApiServer, name: str, size: int = 1) -> int:
    body = {"metadata": {"name": name, "labels": {"asked": "by-websocket"}}}
    body["data"] = {"text": "x" * size}  # type: ignore[assignment]
    made = requests.post(
        server.url + PATH, json=body, verify=server.ca, cert=server.certificate, timeout=10
    )
    assert made.status_code == 201, made.text
    return int(made.json()["metadata"]["resourceVersion"])


@pytest.fixture
def tidied(apiserver: ApiServer) -> Iterator[ApiServer]:
    yield apiserver
    requests.delete(
        f"{apiserver.url}{PATH}?labelSelector=asked=by-websocket",
        verify=apiserver.ca,
        cert=apiserver.certificate,
        timeout=10,
    )


def event(socket: ClientConnection) -> tuple[str, str]:
    text = socket.recv(timeout=10)
    assert isinstance(text, str), "JSON travels as text"
    found = json.loads(text)
    return found["type"], found["object"]["metadata"].get("name", "")


def test_state_and_changes_come_one_event_a_message(tidied: ApiServer) -> None:
    create(tidied, "first")
    create(tidied, "second")
    with opened(tidied, "labelSelector=asked%3Dby-websocket") as socket:
        assert {event(socket), event(socket)} == {("ADDED", "first"), ("ADDED", "second")}
        create(tidied, "third", size=70_000)  # longer than two bytes of length can say
        assert event(socket) == ("ADDED", "third")
        create(tidied, "fourth", size=300)
        assert event(socket) == ("ADDED", "fourth")


def test_ping_is_answered_and_the_end_is_said(tidied: ApiServer) -> None:
    since = create(tidied, "anchor")
    with opened(tidied, f"resourceVersion={since}&timeoutSeconds=3") as socket:
        assert socket.ping(b"still there?").wait(10)
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=15)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1000


def test_only_subprotocol_is_agreed_on(tidied: ApiServer) -> None:
    since = create(tidied, "protocol")
    with opened(tidied, f"resourceVersion={since}", "v1.watch") as socket:
        assert socket.subprotocol == "v1.watch"


def test_watch_that_is_left_is_forgotten(tidied: ApiServer) -> None:
    since = create(tidied, "leaving")
    for _ in range(3):
        with opened(tidied, f"resourceVersion={since}"):
            pass
    with opened(tidied, f"resourceVersion={since}") as socket:
        create(tidied, "after-others-left")
        assert event(socket) == ("ADDED", "after-others-left")


def test_refusal_is_told_before_the_change_of_protocol(tidied: ApiServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opened(tidied, "fieldSelector=nonsense")
    assert refused.value.response.status_code == 400
