"""What haproxy has found out itself decides when its engine is ready."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from labapps.deployment.haproxy import Haproxy
from tests.classroom_folder import free_port

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(60)]
HOST = "127.0.0.1"
ANSWER = b"HTTP/1.1 %d Word\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """A server whose health is what the test says."""

    def __init__(self) -> None:
        self.healthy = False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER % (200 if self.healthy else 503))
            await writer.drain()
        writer.close()


async def ask(port: int) -> int:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not on this machine")
def test_server_that_became_healthy_is_announced_when_haproxy_sends_requests_there(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        server = Server()
        listening = await asyncio.start_server(server.answer, HOST, 0)
        behind = listening.sockets[0].getsockname()[1]
        front, stats = free_port(), free_port()
        program = shutil.which("haproxy") or ""
        haproxy = Haproxy(program, tmp_path, HOST, front, stats, 1 << 20)
        assert not await haproxy.finds_a_server()
        try:
            await haproxy.serve([("one", f"{HOST}:{behind}")])
            seen = []  # of a healthy server; a request between two checks gets a 503 until then
            for healthy in (False, True, False, True):
                server.healthy = healthy
                while await haproxy.finds_a_server() != healthy:
                    await asyncio.sleep(0.01)
                seen.append(await ask(front))
            assert seen == [503, 200, 503, 200]
        finally:
            await haproxy.stop()
            listening.close()

    asyncio.run(story())
