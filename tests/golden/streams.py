"""Talks over a WebSocket as recorded: exec, attach and port-forward frames."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any

from tests.golden.recording import Exchange
from tests.golden.wire import Answer, Wire

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT, BINARY, CLOSE = 1, 2, 8


def talk(wire: Wire, path: str, query: str, headers: dict[str, str], exchange: Exchange) -> Answer:
    """Upgrade, send the recorded client frames, and collect what the server sends."""
    lines = [f"GET {path}{'?' + query if query else ''} HTTP/1.1", f"Host: {wire.host}:{wire.port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Connection: Upgrade", "", ""]
    with contextlib.closing(wire.connect(6)) as connection:
        connection.connect()
        sock = connection.sock
        sock.settimeout(6)
        sock.sendall("\r\n".join(lines).encode())
        with sock.makefile("rb") as reader:
            status = int(reader.readline().split()[1])
            answered: dict[str, str] = {}
            while (line := reader.readline().strip()) and b":" in line:
                name, _, value = line.decode().partition(":")
                answered[name.title()] = value.strip()
            if status != 101:
                return Answer(status, answered, _document(reader, answered))
            return Answer(status, answered, _frames(sock, reader, exchange))


def _document(reader: Any, headers: dict[str, str]) -> Any:
    import json

    raw = reader.read(int(headers.get("Content-Length", 0)))
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _frames(sock: Any, reader: Any, exchange: Exchange) -> dict[str, Any]:
    recorded = exchange.answer.get("frames", []) if isinstance(exchange.answer, dict) else []
    frames: list[dict[str, Any]] = []
    for frame in recorded:
        if frame["from"] != "client":
            continue
        payload = _payload(frame)
        _write(sock, frame["opcode"], payload)
        frames.append(_show("client", frame["opcode"], payload))
    ended = "timeout"
    with contextlib.suppress(TimeoutError):
        ended = "eof"
        while (frame := _read(reader)) is not None:
            frames.append(_show("server", *frame))
            if frame[0] == CLOSE:
                ended = "closed by server"
                break
    return {"frames": frames, "ended": ended}


def _payload(frame: dict[str, Any]) -> bytes:
    if frame["opcode"] in (TEXT, BINARY):
        head = b"" if frame.get("channel") is None else bytes([frame["channel"]])
        text = str(frame.get("data") or "")
        return head + text.encode("utf-8", "backslashreplace")
    if frame["opcode"] == CLOSE:
        code = frame.get("close_code")
        head = b"" if code is None else struct.pack(">H", code)
        return head + str(frame.get("reason") or "").encode()
    return bytes.fromhex(str(frame.get("data") or ""))


def _write(sock: Any, opcode: int, data: bytes) -> None:
    mask = os.urandom(4)
    size = (
        bytes([0x80 | len(data)])
        if len(data) < 126
        else bytes([0x80 | 126]) + struct.pack(">H", len(data))
    )
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    sock.sendall(bytes([0x80 | opcode]) + size + mask + masked)


def _read(reader: Any) -> tuple[int, bytes] | None:
    head = reader.read(2)
    if len(head) < 2:
        return None
    length = head[1] & 127
    if length == 126:
        length = struct.unpack(">H", reader.read(2))[0]
    elif length == 127:
        length = struct.unpack(">Q", reader.read(8))[0]
    return head[0] & 15, reader.read(length)


def _show(side: str, opcode: int, data: bytes) -> dict[str, Any]:
    frame: dict[str, Any] = {"from": side, "opcode": opcode}
    if opcode in (TEXT, BINARY):
        frame["channel"] = data[0] if data else None
        frame["data"] = data[1:].decode(errors="backslashreplace")
    elif opcode == CLOSE:
        frame["close_code"] = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else None
        frame["reason"] = data[2:].decode(errors="replace")
    else:
        frame["data"] = data.hex()
    return frame
