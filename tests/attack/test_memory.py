"""A process of the platform that reaches its bound of memory ends alone and is started again."""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml

from labsandbox import bounds
from labsandbox.client.resources import PODS as POD_KIND
from tests.processes import words_of
from tests.sandbox.cluster import Cluster, pod
from tests.sandbox.conftest import ApiServer
from tests.sandbox.platform.program import (
    environment,
    family,
    holds,
    labsandbox,
    session,
    until,
)

MAPS = "/api/v1/namespaces/default/configmaps"
KDCLUSTERS = "/apis/kubedirector.hpe.com/v1beta1/kubedirectorclusters"
PODS = "/api/v1/namespaces/default/pods"
ROOM = 4 << 20
"""Bytes that are left to the process: less than one of the requests needs."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("memory") / "state"
    labsandbox("up", "--state", str(place), "--detach", "--students", "1")
    try:
        # The scripts that set members up end by themselves, and no test may take them for killed.
        until("the shared clusters to be configured", lambda: is_settled(place), 240)
        yield place
    finally:
        labsandbox("down", "--state", str(place))


def is_settled(state: Path) -> bool:
    found = ask(state, "GET", KDCLUSTERS)[1].get("items", [])
    return bool(found) and all(one.get("status", {}).get("state") == "configured" for one in found)


def ask(state: Path, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Send a request as the administrator; 0 when there was no answer."""
    config = yaml.safe_load((state / "admin.conf").read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    context = ssl.create_default_context(cafile=str(state / "pki/ca.crt"))
    pem = state / "admin.pem"
    if not pem.exists():
        user = config["users"][0]["user"]
        text = b"".join(
            base64.b64decode(user[f"client-{name}-data"]) for name in ("certificate", "key")
        )
        pem.write_bytes(text)
    context.load_cert_chain(pem)
    connection = HTTPSConnection(str(server.hostname), server.port, timeout=60, context=context)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, HTTPException):
        return 0, {}
    finally:
        connection.close()


def apiserver(platform: psutil.Process) -> psutil.Process | None:
    for child in platform.children():
        if "labsandbox.apiserver" in words_of(child):
            return child
    return None


def squeeze(pid: int, room: int = ROOM) -> None:
    """Make what a process holds now its bound, but for a little: as if a leak had filled it."""
    status = Path(f"/proc/{pid}/status").read_text()
    held = int(status.partition("VmData:")[2].split()[0]) << 10
    _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (held + room, hard))


def bound_of(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_DATA)[0]


def run_pod(state: Path, name: str) -> None:
    """Start a pod that goes on, and wait until it runs."""
    one = {"name": "c", "image": "busybox", "command": ["sleep", "1000"]}
    made = {"metadata": {"name": name}, "spec": {"containers": [one]}}
    until("a pod to be taken", lambda: ask(state, "POST", PODS, made)[0] in (201, 409))
    until(f"the pod {name} to run", lambda: phase(state, name) == "Running")


def phase(state: Path, name: str) -> str:
    return str(ask(state, "GET", f"{PODS}/{name}")[1].get("status", {}).get("phase"))


def restarts(state: Path, name: str) -> int:
    status = ask(state, "GET", f"{PODS}/{name}")[1]["status"]
    return int(status["containerStatuses"][0]["restartCount"])


def keeper(state: Path) -> int:
    """Return the process id of the only keeper, or 0."""
    found = [p.pid for p in family(state) if any("node.keeper" in word for word in words_of(p))]
    return found[0] if len(found) == 1 else 0


def kept_by(pid: int) -> set[psutil.Process]:
    return set(psutil.Process(pid).children(recursive=True))


@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_platform_at_its_bound_begins_anew_and_everything_else_goes_on(state: Path) -> None:
    """It holds the node agent, controllers, operator, gateway and front door."""
    platform = psutil.Process(json.loads((state / "platform.json").read_text())["pid"])
    run_pod(state, "stays")
    # Processes are compared with the time of their start: an id that is used again is no process.
    kept = kept_by(platform.pid) | kept_by(keeper(state)) | {psutil.Process(keeper(state))}
    others = {process: process.cmdline() for process in kept}
    assert apiserver(platform) in others
    assert len(others) > 2
    squeeze(platform.pid)

    def is_anew() -> bool:
        facts = json.loads((state / "platform.json").read_text())
        return bound_of(platform.pid) == bounds.MOST_BYTES and bool(facts["ready"])

    until("the platform to begin anew", is_anew, 150)
    assert bounds.REACHED in (state / "logs/platform.log").read_text()
    assert platform.is_running()
    assert holds(state)
    assert {p: words for p, words in others.items() if not p.is_running()} == {}
    assert apiserver(platform) in others
    assert (phase(state, "stays"), restarts(state, "stays")) == ("Running", 0)
    assert session(environment(state)).status_code == 201
    run_pod(state, "new")


@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_keeper_at_its_bound_ends_alone_and_pods_go_on(state: Path) -> None:
    run_pod(state, "stays")
    first = keeper(state)
    others = kept_by(first) | {p for p in family(state) if p.pid != first}
    squeeze(first, 1 << 16)
    until("another keeper", lambda: keeper(state) not in (0, first), 120)
    assert bounds.REACHED in (state / "node/keeper.log").read_text()
    run_pod(state, "new")
    assert all(process.is_running() for process in others), "something else ended"
    assert (phase(state, "stays"), restarts(state, "stays")) == ("Running", 0)


@pytest.mark.sandbox
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["node", "controllers"])
def test_part_that_runs_alone_ends_at_its_bound_and_pods_go_on(tmp_path: Path, name: str) -> None:
    cluster = Cluster(ApiServer(tmp_path).start())
    try:
        cluster.start("controllers")
        cluster.start("node")
        namespace = cluster.namespace()
        cluster.create(POD_KIND, pod("stays", "sleep 1000"), namespace)
        before = cluster.running(namespace, "stays")
        program = cluster.programs.pop(name)
        squeeze(program.pid)
        assert program.wait(60) == bounds.AT_ITS_BOUND
        assert bounds.REACHED in cluster.log_of(name)
        cluster.start(name)
        cluster.create(POD_KIND, pod("new", "sleep 1000"), namespace)
        cluster.running(namespace, "new")
        statuses = [
            one["status"]["containerStatuses"][0]["containerID"]
            for one in (before, cluster.running(namespace, "stays"))
        ]
        assert statuses[0] == statuses[1]
    finally:
        cluster.close()


LEAK = """
import asyncio
from labsandbox import bounds, loop
async def leak():
    kept = []
    while True:
        await asyncio.sleep(0.01)
        try:
            kept.append(bytearray(2 << 20))
        except Exception:
            print("one loop goes on", flush=True)  # as the loops of the platform do
            await asyncio.sleep(0.2)
bounds.protect(300 << 20)
loop.run(leak())
"""


@pytest.mark.fast
def test_part_that_survives_each_error_ends_when_its_memory_is_full() -> None:
    done = subprocess.run([sys.executable, "-c", LEAK], capture_output=True, text=True, timeout=120)
    assert done.returncode == bounds.AT_ITS_BOUND, done.stderr
    assert bounds.REACHED in done.stderr


@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_api_server_at_its_bound_ends_alone_and_is_started_again(state: Path) -> None:
    platform = psutil.Process(json.loads((state / "platform.json").read_text())["pid"])
    first = apiserver(platform)
    assert first is not None
    others = {p.pid for p in platform.children(recursive=True)} - {first.pid}
    kept = {"metadata": {"name": "kept"}, "data": {"k": "v"}}
    assert ask(state, "POST", MAPS, kept)[0] == 201
    labels = {f"l{number}": "v" for number in range(60_000)}
    large = {"metadata": {"name": "large", "labels": labels}, "data": {"k": "v" * 900_000}}

    def press() -> None:
        with contextlib.suppress(OSError):  # it has just ended
            squeeze(first.pid)
        code, body = ask(state, "POST", MAPS, large)
        assert code in (0, 503), body
        assert "bug" not in body.get("message", "")

    def again() -> bool:
        found = apiserver(platform)
        if found == first:  # it had garbage to give back, and goes on for good reason
            press()
        return found is not None and found != first and ask(state, "GET", MAPS)[0] == 200

    press()
    until("the API server to be started again", again, 120)
    assert platform.is_running()
    assert others <= {p.pid for p in platform.children(recursive=True)}, "something else ended"
    assert ask(state, "GET", f"{MAPS}/kept")[1]["data"] == {"k": "v"}
    assert ask(state, "POST", MAPS, {"metadata": {"name": "new"}})[0] == 201
    log = (state / "logs/apiserver.log").read_text()
    assert bounds.REACHED in log


@pytest.mark.fast
def test_bound_is_reached_at_nine_tenths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, -1))
    for held, expected in ((800, False), (950, True)):
        monkeypatch.setattr(bounds, "_held", lambda held=held: held)
        assert bounds.is_reached() is expected
