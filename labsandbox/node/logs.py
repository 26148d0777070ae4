"""Read containers' logs as `kubectl logs` asks for them: tail, since, timestamps, limit, follow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class LogOptions:
    """Which part of a log is wanted, and how."""

    tail: int | None = None
    since: str | None = None  # RFC 3339 with nanoseconds: compares as text
    has_timestamps: bool = False
    limit: int | None = None
    is_following: bool = False


def show(line: bytes, options: LogOptions) -> bytes:
    """Return one line of the file as it is shown, or nothing."""
    parts = line.split(b" ", 3)
    if len(parts) < 4:
        return b""
    stamp, _, mark, text = parts
    if options.since and stamp.decode() < options.since:
        return b""
    shown = stamp + b" " + text if options.has_timestamps else text
    return shown if mark == b"P" else shown + b"\n"


def select(data: bytes, options: LogOptions) -> bytes:
    """Return the wanted part of a whole log."""
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if options.tail is not None:
        lines = lines[len(lines) - options.tail :] if options.tail < len(lines) else lines
        lines = [] if options.tail == 0 else lines
    return b"".join(show(line, options) for line in lines)


def read_whole(path: Path) -> tuple[bytes, int]:
    """Return the complete lines of a log with its older part, and the offset behind them."""
    try:
        current = path.read_bytes()
    except OSError:
        current = b""
    try:
        older = path.with_name(path.name + ".1").read_bytes()
    except OSError:
        older = b""
    whole = current[: current.rfind(b"\n") + 1]
    return older + whole, len(whole)


async def read(
    path: Path, options: LogOptions, is_over: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield the wanted part of a log and, when following, what is added until the end."""
    left = options.limit
    inode = _inode(path)
    data, offset = await asyncio.to_thread(read_whole, path)
    async for chunk in _with_rest(path, options, is_over, select(data, options), offset, inode):
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left == 0:
            return


async def _with_rest(
    path: Path,
    options: LogOptions,
    is_over: Callable[[], bool],
    first: bytes,
    offset: int,
    inode: int,
) -> AsyncIterator[bytes]:
    yield first
    while options.is_following:
        was_over = is_over()
        data, offset, inode = _added(path, offset, inode)
        if data:
            yield b"".join(show(line, options) for line in data.split(b"\n") if line)
        elif was_over:
            return
        else:
            await asyncio.sleep(_POLL_SECONDS)


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _added(path: Path, offset: int, inode: int) -> tuple[bytes, int, int]:
    """Return the complete lines behind an offset, following the file when it is turned over."""
    data = b""
    now = _inode(path)
    if inode and now != inode:
        older = path.with_name(path.name + ".1")
        if _inode(older) == inode:
            data = _from(older, offset)
        offset = 0
    fresh = _from(path, offset)
    fresh = fresh[: fresh.rfind(b"\n") + 1]
    return data + fresh, offset + len(fresh), now


def _from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError:
        return b""
