"""Guessing passwords, and what guesses cost everybody else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from labsandbox.ezmeral import passwords, source
from labsandbox.ezmeral.errors import TooManyAttempts
from tests.sandbox.ezmeral.test_rest import Door

pytestmark = pytest.mark.fast
FREE = 5


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    opened = Door(tmp_path_factory.mktemp("door"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def admin(shared: Door) -> dict[str, str]:
    return shared.session("admin", None)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    opened = Door(tmp_path)
    yield opened
    opened.close()


def test_guesses_at_the_same_time_count_like_guesses_one_after_the_other(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def compare(password: str, stored: str) -> bool:
        compared.append(password)
        return False

    monkeypatch.setattr(passwords, "matches", compare)
    with ThreadPoolExecutor(40) as crowd:
        statuses = list(
            crowd.map(lambda number: door.login(password=f"guess {number}").status_code, range(80))
        )
    # The first wait is a second: on a slow machine one more guess may come after it.
    assert len(compared) < FREE + 5
    assert statuses.count(429) == 80 - len(compared)


def test_wait_grows_to_its_limit_and_stays_there() -> None:
    clock = [0.0]
    throttle = passwords.Throttle(now=lambda: clock[0])
    for _ in range(1_100):
        throttle.begin("student1")
        clock[0] += 61
    clock[0] -= 61
    with pytest.raises(TooManyAttempts) as refused:
        throttle.begin("student1")
    assert refused.value.seconds == 60


def test_names_cost_no_memory() -> None:
    throttle = passwords.Throttle()
    for number in range(20_000):
        throttle.begin(f"{number}" * 100)
    assert len(throttle) == 10_000
    assert all(len(key) == 32 for key in throttle._failed)


def test_counts_are_forgotten() -> None:
    clock = [0.0]
    throttle = passwords.Throttle(now=lambda: clock[0])
    for _ in range(FREE):
        throttle.begin("student1")
    clock[0] = 10_000
    for _ in range(FREE):
        throttle.begin("student1")


def test_nobody_is_shut_out_by_the_guesses_of_others() -> None:
    throttle = passwords.Throttle(now=lambda: 0.0)
    for _ in range(FREE):
        throttle.begin("student1", "user 1001 of this host")
    with pytest.raises(TooManyAttempts):
        throttle.begin("student1", "user 1001 of this host")
    throttle.begin("student1", "user 1002 of this host")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_processes_of_this_host_are_known_by_their_user(host: str) -> None:
    async def ask() -> str:
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set_result(source.of(writer.transport))
            writer.close()

        server = await asyncio.start_server(serve, host, 0)
        async with server:
            _, writer = await asyncio.open_connection(host, server.sockets[0].getsockname()[1])
            found = await asyncio.wait_for(asked, 10)
            writer.close()
        return found

    assert asyncio.run(ask()) == f"user {os.getuid()} of this host"


BODIES = (
    b'{"name": "\\ud800", "password": "x"}',
    b'{"name": "student1", "password": "\\udfff"}',
    b'{"name": "student1", "password": "right", "tenant_name": "\\ud800"}',
    b'{"name": "' + b"n" * 900_000 + b'", "password": "x"}',
    b'{"name": "student1", "password": "' + b"p" * 900_000 + b'"}',
    b'{"name": "student1", "password": "right", "tenant": ' + b"9" * 5_000 + b"}",
)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_odd_sign_ins_are_refused_with_a_reason(shared: Door, body: bytes) -> None:
    answer = requests.post(f"{shared.url}/api/v2/session", data=body, timeout=10)
    assert (answer.status_code, answer.json()["result"]) == (400, "Error")


@pytest.mark.parametrize("number", ["9" * 5_000, "\u00b2", "\u0661", "-1", "1e3"])
def test_odd_numbers_in_paths_are_not_found(
    shared: Door, admin: dict[str, str], number: str
) -> None:
    for kind in ("v1/tenant", "v1/user", "v1/role", "v2/k8scluster", "v2/session"):
        assert shared.get(f"/api/{kind}/{number}", admin).status_code == 404


@pytest.mark.parametrize("role", ["/api/v1/role/\u00b2", "/api/v1/role/" + "9" * 5_000, 3.5, []])
def test_odd_roles_are_refused(shared: Door, admin: dict[str, str], role: object) -> None:
    answer = requests.put(
        f"{shared.url}/api/v1/tenant/1?user",
        json={"operation": "assign", "user": "/api/v1/user/1", "role": role},
        headers=admin,
        timeout=10,
    )
    assert answer.status_code == 400


def test_other_sites_may_read_what_needs_no_session_only(shared: Door) -> None:
    header = "Access-Control-Allow-Origin"
    session = shared.session()
    assert shared.get("/api/v2/config").headers[header] == "*"
    assert header not in shared.get("/api/v2/session", session).headers
    assert header not in shared.get("/api/v2/k8skubeconfig", session).headers
    assert header not in shared.login().headers
