"""Many large bodies at once: their sum is bounded, and the server goes on."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl

import psutil
import pytest
import requests

from labsandbox.apiserver.http import request as http
from labsandbox.apiserver.status import StatusError
from tests.sandbox.conftest import ApiServer

MANY = 150
SENT = 2 * 1024 * 1024  # of each body; the end never comes while the test looks
HEAD = (
    "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n"
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n"
)


def _connection(server: ApiServer) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(*server.certificate)
    host, port = server.url.removeprefix("https://").split(":")
    return context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)


@pytest.mark.sandbox
def test_sum_of_the_bodies_in_flight_is_bounded(server: ApiServer) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    with contextlib.ExitStack() as stack, _session(server) as session:
        opened = [stack.enter_context(_connection(server)) for _ in range(MANY)]
        for one in opened:
            with contextlib.suppress(OSError):
                one.sendall(HEAD.format(SENT + 1000).encode() + b" " * SENT)
        grown = process.memory_info().rss - before
        assert grown < 2 * http.MOST_IN_FLIGHT, grown
        assert session.get(f"{server.url}/api/v1/namespaces/default", timeout=20).status_code == 200
        assert any(_is_refused(one) for one in reversed(opened))
    with _session(server) as session:
        body = {"metadata": {"name": "large"}, "data": {"k": "v" * 900_000}}
        url = f"{server.url}/api/v1/namespaces/default/configmaps"
        answer = session.post(url, data=json.dumps(body), timeout=20)
        assert answer.status_code == 201, "the room of those that went away is free again"


def _session(server: ApiServer) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = str(server.ca), server.certificate
    session.headers["Content-Type"] = "application/json"
    return session


def _is_refused(one: ssl.SSLSocket) -> bool:
    one.settimeout(20)  # the server reads on for some seconds before it answers
    try:
        return b" 429 " in one.recv(4096)
    except OSError:
        return False


@pytest.mark.fast
def test_body_beyond_the_bound_is_to_be_sent_again_later() -> None:
    bodies = http.Bodies()
    bodies.take(http.MOST_IN_FLIGHT)
    with pytest.raises(StatusError) as refused:
        bodies.take(1)
    assert (refused.value.code, refused.value.retry_after) == (429, 1)
    assert bodies.bytes == http.MOST_IN_FLIGHT
