"""What another tenant waits for while somebody sends requests that ask for much work."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.sandbox.conftest import ApiServer

Json = dict[str, Any]
SPACE = "/api/v1/namespaces/default"
MAPS = f"{SPACE}/configmaps"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TOYS = "/apis/bomb.example/v1/namespaces/default/toys"
JSON, YAML = "application/json", "application/yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
LIMIT = 3_000_000
"""Just below the largest body a server reads."""


@dataclass(frozen=True)
class Request:
    """One request."""

    method: str
    path: str
    body: bytes = b""
    media: str = JSON


@dataclass(frozen=True)
class Bomb:
    """A request, and what must exist before it is sent."""

    name: str
    make: Callable[[], Request]
    before: tuple[Callable[[], Request], ...] = ()


@dataclass
class Client:
    """One kept-open connection of the administrator."""

    server: ApiServer
    seconds: float = 60.0
    connection: HTTPSConnection = field(init=False)

    def __post_init__(self) -> None:
        context = ssl.create_default_context(cafile=str(self.server.ca))
        context.load_cert_chain(*self.server.certificate)
        address = urlsplit(self.server.url)
        self.connection = HTTPSConnection(
            address.hostname or "", address.port, timeout=self.seconds, context=context
        )

    def send(self, request: Request) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        headers = {"Content-Type": request.media} if request.body else {}
        self.connection.request(request.method, request.path, request.body or None, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self.connection.close()


@dataclass
class Waits:
    """What a neighbour saw: seconds for each answer, and the server's work meanwhile."""

    seconds: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def percentile(self, share: float, of: list[float]) -> float:
        ordered = sorted(of)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def watch(client: Client, until: Callable[[], bool]) -> Waits:
    """Ask for one small object again and again until told to stop."""
    assert client.server.process is not None
    process = psutil.Process(client.server.process.pid)
    waits = Waits()
    while True:
        is_last = until()
        began, before = time.perf_counter(), process.cpu_times()
        status, _ = client.send(Request("GET", f"{SPACE}/serviceaccounts?limit=1"))
        assert status == 200
        after = process.cpu_times()
        waits.seconds.append(time.perf_counter() - began)
        waits.work.append(after.user + after.system - before.user - before.system)
        if is_last:
            return waits
        time.sleep(0.002)


def set_off(server: ApiServer, bomb: Bomb, seconds: float = 0.0) -> tuple[Waits, list[int]]:
    """Send a bomb once, or for some seconds; what a neighbour waited meanwhile, and the statuses.

    A status of 0 is a connection the server closed.
    """
    prepare(server, bomb)
    request, statuses = bomb.make(), []
    gone = threading.Event()

    def fire() -> None:
        end = time.monotonic() + seconds
        try:
            while True:
                client = Client(server, 45.0)
                try:
                    statuses.append(client.send(request)[0])
                except (OSError, HTTPException):
                    statuses.append(0)
                finally:
                    client.close()
                if time.monotonic() >= end:
                    return
        finally:
            gone.set()

    attacker, neighbour = threading.Thread(target=fire), Client(server)
    try:
        neighbour.connection.connect()  # a quick bomb may be over before a connection is there
        attacker.start()
        try:
            return watch(neighbour, gone.is_set), statuses
        finally:
            attacker.join()
    finally:
        neighbour.close()


def prepare(server: ApiServer, bomb: Bomb) -> None:
    """Create what the bomb works on."""
    client = Client(server)
    try:
        for make in bomb.before:
            request = make()
            status, body = client.send(request)
            assert status in (200, 201, 409), (bomb.name, request.path, status, body[:500])
            if request.path == CRDS and status == 201:
                _wait_for_kind(client, request)
    finally:
        client.close()


def _wait_for_kind(client: Client, request: Request) -> None:
    spec = json.loads(request.body)["spec"]
    path = f"/apis/{spec['group']}/v1/{spec['names']['plural']}"
    deadline = time.monotonic() + 20
    while client.send(Request("GET", path))[0] != 200:
        assert time.monotonic() < deadline, f"{path} is not served"
        time.sleep(0.02)


def as_json(method: str, path: str, value: Any, media: str = JSON) -> Request:
    """A request with a JSON body."""
    return Request(method, path, json.dumps(value).encode(), media)
