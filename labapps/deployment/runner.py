"""The process of one run of a published scoring script; it ends with the script."""

from __future__ import annotations

import atexit
import io
import os
import resource
import socket
import struct
import sys
import threading
import traceback
import types
from pathlib import Path
from typing import Any

from labapps import source

__all__ = ["execute", "run_once"]

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
    os.dup2(fds[1], 1)
    os.dup2(fds[2], 2)
    os.close(fds[1])
    os.close(fds[2])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir(script.parent)
    sys.argv = [str(script), argument.decode()]
    sys.path.insert(0, str(script.parent))
    status = execute(code, str(script))
    try:
        sock.sendall(CODE.pack(status))
    except OSError:
        return 1
    os._exit(status & 0xFF)


def execute(code: types.CodeType, name: str) -> int:
    """Run code as a program of its own and return the exit code its interpreter would have."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _writer(1, "surrogateescape")
    sys.stderr = _writer(2, "backslashreplace", lines=True)
    program = types.ModuleType("__main__")
    program.__file__ = name
    sys.modules["__main__"] = program
    status = 0
    try:
        exec(code, program.__dict__)
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            status = end.code or 0
        else:
            print(end.code, file=sys.stderr)
            status = 1
    except BaseException as error:
        # Our own frames are none of the learner's business.
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, trace)
        status = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 120
    return int(status)


def _writer(fd: int, errors: str, *, lines: bool = False) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", errors, line_buffering=lines)


def _receive(sock: socket.socket) -> bytes | None:
    data = b""
    while len(data) < SIZE.size or len(data) < SIZE.size + SIZE.unpack_from(data)[0]:
        chunk = sock.recv(1 << 20)
        if not chunk:
            return None
        data += chunk
    return data[SIZE.size :]
