"""A class on a busy host starts, however long its services take to answer first."""

from __future__ import annotations

import asyncio
import http.server
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm

from labclass import jupyterhub_app
from labclass.jupyterhub_app import ClassHub
from tests.classroom_folder import free_port

pytestmark = pytest.mark.fast


def start(begin: Any, status: Any) -> tuple[bool, int]:
    """Let the hub start a service; return whether it is up, and how often it was looked at."""
    asked: list[int | None] = []

    async def poll() -> int | None:
        asked.append(status(len(asked)))
        return asked[-1]

    async def started() -> None:
        begin(server)

    server = orm.Server(
        proto="http", ip="127.0.0.1", port=free_port(), base_url="/", cookie_name="slow"
    )
    service = SimpleNamespace(
        managed=True,
        url=f"http://127.0.0.1:{server.port}",
        start=started,
        orm=SimpleNamespace(server=server),
        spawner=SimpleNamespace(poll=poll),
    )
    return asyncio.run(ClassHub().start_service("slow", service)), len(asked)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jupyterhub_app, "ATTEMPT", 0.2)
    monkeypatch.setattr(jupyterhub_app, "PATIENCE", 60.0)


def test_service_that_answers_after_twelve_attempts_is_up() -> None:
    # JupyterHub itself gives up after ten.
    places: list[orm.Server] = []

    def answer() -> None:
        place = ("127.0.0.1", places[0].port)
        with http.server.HTTPServer(place, http.server.SimpleHTTPRequestHandler) as server:
            server.handle_request()

    def status(attempts: int) -> None:
        if attempts == 11:
            threading.Thread(target=answer, daemon=True).start()

    is_up, attempts = start(places.append, status)
    assert is_up
    assert attempts >= 12


def test_service_that_ended_is_not_waited_for() -> None:
    assert start(lambda server: None, lambda attempts: 3) == (False, 1)


def test_service_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jupyterhub_app, "PATIENCE", 1.0)
    is_up, attempts = start(lambda server: None, lambda attempts: None)
    assert not is_up
    assert attempts > 0


def test_service_that_cannot_begin_is_said_to_fail() -> None:
    def fail(server: orm.Server) -> None:
        raise OSError("no such program")

    assert start(fail, lambda attempts: None) == (False, 0)
