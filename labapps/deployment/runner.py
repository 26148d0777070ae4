"""The process of one run of a published scoring script; it ends with the script."""

from __future__ import annotations

import os
import resource
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from labapps import source
from labapps.script import execute, take_output

__all__ = ["run_once"]

SIZE = struct.Struct(">I")
CODE = struct.Struct(">i")
FILE_SIZE = 1 << 30


def run_once(args: dict[str, Any], fds: list[int]) -> int:
    """Compile the script, wait for one argument, run it, tell the exit code."""
    sock = socket.socket(fileno=fds[0])
    script = Path(args["script"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_DATA, (args["memory"], args["memory"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = source.compile_source(script.read_bytes(), str(script), args["mappings"])
    argument = _receive(sock)
    if argument is None:
        return 0
    take_output(fds[1], fds[2])
    os.chdir(script.parent)
    sys.argv = [str(script), argument.decode()]
    sys.path.insert(0, str(script.parent))
    status = execute(code, str(script))
    try:
        sock.sendall(CODE.pack(status))
    except OSError:
        return 1
    os._exit(status & 0xFF)


def _receive(sock: socket.socket) -> bytes | None:
    data = b""
    while len(data) < SIZE.size or len(data) < SIZE.size + SIZE.unpack_from(data)[0]:
        chunk = sock.recv(1 << 20)
        if not chunk:
            return None
        data += chunk
    return data[SIZE.size :]
