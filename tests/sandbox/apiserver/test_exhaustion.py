"""Memory that runs out while a request is still read is said to be that, not a bad request."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from labsandbox import bounds
from labsandbox.apiserver.http import exhaustion
from labsandbox.apiserver.http.protocol import Connection

pytestmark = pytest.mark.fast
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


class Full(Connection):
    """A connection whose process has no memory for a body."""

    def on_body(self, body: bytes) -> None:
        raise MemoryError


async def answer_of(connection: type[Connection], request: bytes) -> tuple[bytes, dict[str, Any]]:
    """Send a request to a server of such connections; return the first line and the body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    config = uvicorn.Config(app, http=connection, ws="none", lifespan="off", log_config=None)
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: connection(config=config, server_state=ServerState(), app_state={}),
        "127.0.0.1",
        0,
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    return head.splitlines()[0], json.loads(body)


def test_body_without_memory_for_it_is_answered_503() -> None:
    first, body = asyncio.run(answer_of(Full, POST))
    assert first == b"HTTP/1.1 503 Service Unavailable"
    assert body["reason"] == "ServiceUnavailable"
    assert "no memory left" in body["message"]


def test_process_at_its_bound_ends_after_memory_ran_out_in_a_callback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = list[int]()
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(exhaustion, "_LAST_WORDS", 0)

    async def run_out() -> None:
        loop = asyncio.get_running_loop()
        exhaustion.watch(loop)

        def fail() -> None:
            raise MemoryError

        for reached in (False, True):
            monkeypatch.setattr(bounds, "is_reached", lambda reached=reached: reached)
            loop.call_soon(fail)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(ended) <= reached
        while not ended:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run_out(), 60))
    assert ended == [bounds.AT_ITS_BOUND]
