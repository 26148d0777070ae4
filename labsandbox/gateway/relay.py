"""Carry bytes between a client and a pod: any protocol, any size, both directions at once."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

from labsandbox.crowd import RESERVED, Crowd, raise_limit
from labsandbox.gateway import page
from labsandbox.gateway.mapping import Target

_CHUNK = 1 << 16
_CONNECT_SECONDS = 5
_HANDSHAKE_SECONDS, _BACKLOG = 15.0, 1024
_HEAD_SECONDS = 10

Backends = Callable[[Target], list[tuple[str, int]]]


class Relayed:
    """One client of a gateway port: the longest silent one gives way when all places are taken."""

    def __init__(self, writer: asyncio.StreamWriter, crowds: tuple[Crowd, ...]) -> None:
        self._writer, self._crowds = writer, crowds
        for crowd in crowds:
            crowd.enter(self)

    def heard(self) -> None:
        """Note that bytes went through, in whichever direction."""
        for crowd in self._crowds:
            crowd.rest(self)

    def leave(self) -> None:
        """Give the place back."""
        for crowd in self._crowds:
            crowd.leave(self)

    def give_up(self) -> None:
        """Close the connection."""
        self.leave()
        self._writer.transport.abort()


def places() -> int:
    """Return how many clients the gateway takes; each needs a descriptor for its pod, too."""
    return max(16, (raise_limit() - RESERVED) // 2)


class Listener:
    """One open gateway port."""

    def __init__(
        self, target: Target, port: int, backends: Backends, crowd: Crowd | None = None
    ) -> None:
        self.target = target
        # Nobody takes more than half of all places through one port.
        everybody = crowd or Crowd(places())
        self._crowds = (everybody, Crowd(max(8, (everybody.most or places()) // 2)))
        self.port = port
        self._backends = backends
        self._next = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, context: ssl.SSLContext) -> None:
        """Open the port."""
        self._server = await asyncio.start_server(
            self._serve,
            host,
            self.port,
            ssl=context if self.target.terminates_tls else None,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if self.target.terminates_tls else None,
            limit=_CHUNK,
            backlog=_BACKLOG,
        )

    async def stop(self) -> None:
        """Close the port and whatever still goes through it."""
        if self._server:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        client = Relayed(writer, self._crowds)
        try:
            await self._relay(reader, writer, client)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            client.leave()
            self._open.discard(task)
            writer.close()

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: Relayed
    ) -> None:
        backends = self._backends(self.target)
        for attempt in range(len(backends)):
            address, port = backends[(self._next + attempt) % len(backends)]
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    inner_reader, inner_writer = await asyncio.open_connection(
                        address, port, limit=_CHUNK
                    )
            except (OSError, TimeoutError):
                continue
            self._next += attempt + 1
            await _join(reader, writer, inner_reader, inner_writer, client)
            return
        await self._explain(reader, writer, has_pods=bool(backends))

    async def _explain(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, has_pods: bool
    ) -> None:
        """Answer with a page; only where the client speaks HTTP, so its request is read first."""
        if not self.target.terminates_tls:
            return
        with contextlib.suppress(TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_HEAD_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
        tell = page.bad_gateway if has_pods else page.unavailable
        writer.write(tell(self.target.namespace, self.target.service, self.target.port))
        await writer.drain()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
    client: Relayed,
) -> None:
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, inner_writer, client))
            both.create_task(_pump(inner_reader, writer, client))
    except* (OSError, ssl.SSLError):
        pass
    finally:
        inner_writer.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: Relayed
) -> None:
    while chunk := await reader.read(_CHUNK):
        client.heard()
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        # TLS knows no half-closed connection: the other side learns by the close.
        writer.close()
