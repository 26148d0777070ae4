"""A port of a pod that another program has: one sentence, and the program ends."""

from __future__ import annotations

import asyncio
import socket

import pytest

from labapps.web.listen import PortTaken, bind

pytestmark = pytest.mark.fast


def test_free_port_is_listened_on() -> None:
    (listening,) = bind("127.244.9.9", [0])
    with listening:
        socket.create_connection(listening.getsockname(), timeout=5).close()


def test_port_that_somebody_has_on_all_addresses_is_named() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            PortTaken, match=f"Expected port {port} of 127.244.9.9 to be free"
        ) as one:
            bind("127.244.9.9", [port])
    assert f"ss -ltnp 'sport = :{port}'" in str(one.value)
    assert isinstance(one.value, SystemExit), "the program ends, so that its pod says so"


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        bind("192.0.2.1", [0])


def test_answers_in_two_pieces_wait_for_no_acknowledgement() -> None:
    """asyncio sets TCP_NODELAY only on sockets whose protocol is named."""
    (listening,) = bind("127.244.9.9", [0])
    found: list[int] = []

    async def look() -> None:
        seen = asyncio.Event()

        def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sock = writer.get_extra_info("socket")
            found.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            seen.set()

        async with await asyncio.start_server(note, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            await asyncio.wait_for(seen.wait(), 30)
            writer.close()

    asyncio.run(look())
    assert found == [1]
