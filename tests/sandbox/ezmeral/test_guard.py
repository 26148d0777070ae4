"""The guard of the front door hands connections on, whichever loop runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from labsandbox.crowd import Crowd
from labsandbox.ezmeral.guard import guarded

pytestmark = pytest.mark.fast


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connection_is_handed_on_by_every_loop(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(guarded(Echo, Crowd(4)), "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await writer.wait_closed()
            return answer

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(ask()) == b"GET / HTTP/1.1\r\n\r\n"
