"""The least of an HTTP client: one request on a connection of its own, the answer as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from labsandbox import whole
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.status import StatusError
from labsandbox.apiserver.streams.target import Node, client_context

_CONNECT_SECONDS, _HEAD_SECONDS = 5.0, 30.0
_PIECE = 64 * 1024


@dataclass
class Answer:
    """Status line, headers, and the reader that goes on with the body."""

    status: int
    headers: list[tuple[str, str]]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def header(self, name: str) -> str:
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return ""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        if "chunked" in self.header("transfer-encoding").lower():
            while size := int((await self.reader.readline()).split(b";")[0] or b"0", 16):
                left = size
                while left:
                    piece = await self.reader.read(min(left, _PIECE))
                    if not piece:
                        return
                    left -= len(piece)
                    yield piece
                await self.reader.readline()
            return
        length = self.header("content-length")
        left = whole.read(length, -1)
        while left:
            piece = await self.reader.read(_PIECE if left < 0 else min(left, _PIECE))
            if not piece:
                return
            if left > 0:
                left -= len(piece)
            yield piece

    async def text(self, limit: int = 10_000) -> str:
        found = b""
        async for piece in self.pieces():
            found += piece
            if len(found) >= limit:
                break
        return found[:limit].decode("utf-8", "replace")

    def close(self) -> None:
        self.writer.close()


async def ask(
    api: Api, node: Node, method: str, target: str, headers: list[tuple[str, str]]
) -> Answer:
    """Send a request to a node's agent and read the head of its answer."""
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(node.host, node.port, ssl=client_context(api)),
            _CONNECT_SECONDS,
        )
    except (OSError, TimeoutError) as error:
        raise StatusError(
            500,
            "InternalError",
            f"Internal error occurred: the node agent at {node.host}:{node.port} cannot be "
            f"reached ({error or 'no answer in time'}); is it running?",
        ) from error
    lines = [f"{method} {target} HTTP/1.1", f"Host: {node.host}:{node.port}"]
    lines += [f"{key}: {value}" for key, value in headers]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    try:
        return await asyncio.wait_for(_read_head(reader, writer), _HEAD_SECONDS)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
        writer.close()
        raise StatusError(
            500,
            "InternalError",
            f"Internal error occurred: the node agent at {node.host}:{node.port} gave no proper "
            f"answer ({type(error).__name__})",
        ) from error


async def _read_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ", 2)[1])
    headers = []
    for line in rest:
        key, colon, value = line.partition(":")
        if colon:
            headers.append((key.strip(), value.strip()))
    return Answer(status, headers, reader, writer)
