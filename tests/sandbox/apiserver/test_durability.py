"""What was acknowledged stays: through kill -9, a full disk, and a damaged file."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import threading
from http.client import HTTPException
from typing import Any

import pytest

from tests.sandbox.apiserver.client import Caller, config_map, make_namespace
from tests.sandbox.conftest import ROOT, ApiServer

pytestmark = pytest.mark.sandbox
WRITES = 1000


class Follower(threading.Thread):
    """Watches from revision to revision, over every death of the server."""

    def __init__(self, server: ApiServer, path: str, revision: str) -> None:
        super().__init__(daemon=True)
        self.server, self.path, self.revision = server, path, revision
        self.names: list[str] = []
        self.revisions: list[int] = []
        self.problems: list[Any] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            try:
                self._follow()
            except (OSError, ValueError, HTTPException):
                self.done.wait(0.05)
            except Exception as error:  # an assertion of the thread is told by the test
                self.problems.append(error)
                return

    def _follow(self) -> None:
        query = f"watch=1&resourceVersion={self.revision}&timeoutSeconds=5"
        call = Caller(self.server)
        response = call.stream(f"{self.path}?{query}")
        while line := response.readline():
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise AssertionError(event)
            metadata = event["object"]["metadata"]
            self.revision = metadata["resourceVersion"]
            self.revisions.append(int(self.revision))
            if event["type"] == "ADDED":
                self.names.append(metadata["name"])


def write_until_death(server: ApiServer, path: str, names: list[str]) -> list[str]:
    """Create the objects in order until the server dies; returns what was acknowledged."""
    acknowledged = []
    try:
        call = Caller(server)
        for name in names:
            status, body = call("POST", path, config_map(name))
            assert status in (201, 409), body
            acknowledged.append(name)
    except (OSError, ValueError, HTTPException):
        pass
    return acknowledged


def test_acknowledged_writes_survive_kill(own_apiserver: ApiServer) -> None:
    server = own_apiserver
    path = make_namespace(Caller(server), "durable")
    _, listed = Caller(server)("GET", path)
    follower = Follower(server, path, listed["metadata"]["resourceVersion"])
    follower.start()
    names = [f"w-{number:04}" for number in range(WRITES)]
    acknowledged: list[str] = []
    chance = random.Random(7)
    kills = 0
    while len(acknowledged) < WRITES:
        if kills < 8:
            killer = threading.Timer(chance.uniform(0.05, 0.3), server.kill)
            killer.start()
            acknowledged += write_until_death(server, path, names[len(acknowledged) :])
            killer.join()
            kills += 1
            server.start()
        else:
            acknowledged += write_until_death(server, path, names[len(acknowledged) :])
    _, found = Caller(server)("GET", path)
    assert [item["metadata"]["name"] for item in found["items"]] == names
    created = [int(item["metadata"]["resourceVersion"]) for item in found["items"]]
    assert created == sorted(set(created))
    for _ in range(200):
        if len(follower.names) >= WRITES or follower.problems:
            break
        follower.done.wait(0.05)
    follower.done.set()
    assert not follower.problems
    assert follower.names == names, "the watch lost, repeated or reordered events"
    assert follower.revisions == sorted(set(follower.revisions))
    assert kills == 8


def test_full_disk_refuses_and_keeps(own_apiserver: ApiServer) -> None:
    server = own_apiserver
    path = make_namespace(Caller(server), "full")
    assert server.process is not None
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    call = Caller(server)
    stored, refused = [], None
    for number in range(100):
        name = f"big-{number}"
        status, body = call("POST", path, config_map(name, text="x" * 100_000))
        if status != 201:
            refused = (status, body)
            break
        stored.append(name)
    assert refused is not None
    status, body = refused
    assert status == 507
    assert body["kind"] == "Status"
    assert "disk" in body["message"]
    assert call("GET", f"{path}/{stored[-1]}")[0] == 200
    server.kill()
    server.start()
    _, found = Caller(server)("GET", path)
    assert sorted(item["metadata"]["name"] for item in found["items"]) == sorted(stored)
    assert Caller(server)("POST", path, config_map("after"))[0] == 201


def test_damaged_file_is_named_at_start(own_apiserver: ApiServer) -> None:
    server = own_apiserver
    path = make_namespace(Caller(server), "damaged")
    call = Caller(server)
    for number in range(50):
        call("POST", path, config_map(f"c-{number}", text="x" * 2000))
    server.stop()
    file = server.state / "apiserver.db"
    content = bytearray(file.read_bytes())
    content[4096 : 4096 + 20_000] = b"\xff" * 20_000
    file.write_bytes(content)
    found = subprocess.run(
        [sys.executable, "-m", "labsandbox.apiserver", "--state", str(server.state)],
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert "apiserver.db" in found.stderr
    assert "Restore" in found.stderr
    assert "Traceback" not in found.stderr


def test_second_server_on_a_state_is_refused(own_apiserver: ApiServer) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "labsandbox.apiserver", "--state", str(own_apiserver.state)],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert "another process" in found.stderr


def test_port_and_objects_stay_over_a_restart(own_apiserver: ApiServer) -> None:
    server = own_apiserver
    call = Caller(server)
    path = make_namespace(call, "stays")
    _, made = call("POST", path, config_map("kept"))
    call.close()
    url = server.url
    server.stop()
    server.start()
    assert server.url == url
    _, found = Caller(server)("GET", f"{path}/kept")
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
