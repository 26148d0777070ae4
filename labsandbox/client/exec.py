"""Run a command in a container over the exec WebSocket and collect what it says."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from labsandbox.client.errors import ApiError

PROTOCOL = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command in a container left behind."""

    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def ok(self) -> bool:
        """Say whether the command ended with 0."""
        return self.exit_code == 0


async def run(
    session: aiohttp.ClientSession,
    url: str,
    headers: dict[str, str],
    params: list[tuple[str, str]],
    stdin: bytes | None,
    timeout: float | None,
) -> ExecResult:
    """Open the stream, send `stdin`, and wait for the command's end."""
    try:
        async with asyncio.timeout(timeout):
            return await _run(session, url, headers, params, stdin)
    except aiohttp.WSServerHandshakeError as error:
        raise ApiError(error.status, "Unknown", f"exec was refused: {error.message}") from error


async def _run(
    session: aiohttp.ClientSession,
    url: str,
    headers: dict[str, str],
    params: list[tuple[str, str]],
    stdin: bytes | None,
) -> ExecResult:
    collected = {_STDOUT: bytearray(), _STDERR: bytearray(), _ERROR: bytearray()}
    async with session.ws_connect(
        url,
        headers=headers,
        params=params,
        protocols=(PROTOCOL, "v4.channel.k8s.io"),
        max_msg_size=0,
    ) as socket:
        if stdin is not None:
            for start in range(0, len(stdin), 32768):
                await socket.send_bytes(bytes([_STDIN]) + stdin[start : start + 32768])
            if socket.protocol == PROTOCOL:
                await socket.send_bytes(bytes([_CLOSE, _STDIN]))
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY and message.data:
                channel = message.data[0]
                if channel in collected:
                    collected[channel] += message.data[1:]
    return ExecResult(
        bytes(collected[_STDOUT]), bytes(collected[_STDERR]), _exit_code(bytes(collected[_ERROR]))
    )


def _exit_code(error: bytes) -> int:
    if not error:
        # The stream broke before the command's status came: nobody knows how it ended.
        raise ApiError(500, "InternalError", "The exec stream ended without a status.")
    status: dict[str, Any] = json.loads(error)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ApiError.from_body(int(status.get("code") or 500), status)
