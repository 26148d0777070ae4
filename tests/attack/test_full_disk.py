"""A full disk is told in a sentence by every service, and nobody is sent to report a bug."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from labapps.web.asgi import Reply, Request
from labapps.web.server import reply_with
from tests.sandbox.ezmeral.test_rest import Door

pytestmark = pytest.mark.fast
FULL = (
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    sqlite3.OperationalError("database or disk is full"),
)


@pytest.mark.parametrize("error", FULL, ids=str)
def test_sign_in_on_a_full_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr("labsandbox.ezmeral.accounts.Accounts.open_session", fail)
    door = Door(tmp_path)
    try:
        answer = door.login(tenant_name="K8sMLTenant")
    finally:
        door.close()
    assert answer.status_code == 507
    assert "disk" in answer.json()["message"]
    assert "bug" not in answer.text


@pytest.mark.parametrize("error", FULL, ids=str)
def test_engine_on_a_full_disk_says_so(error: Exception) -> None:
    async def handle(_: Request) -> Reply:
        raise error

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "POST", "path": "/train", "headers": []}
    asyncio.run(reply_with(handle)(scope, receive, send))
    assert sent[0]["status"] == 507
    assert b"disk" in sent[1]["body"]
