"""The process of one run of a published scoring script; it ends with the script."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

from labapps.deployment import formats
from labapps.forks import source
from labapps.forks.script import execute, take_output

__all__ = ["run_once"]

SIZE = struct.Struct(">I")
CODE = struct.Struct(">i")
FILE_SIZE = 1 << 30
WARM_SIZE = 64 << 20


def run_once(args: dict[str, Any], fds: list[int]) -> int:
    """Compile the script, wait for one argument, run it, tell the exit code."""
    sock = socket.socket(fileno=fds[0])
    script = Path(args["script"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_DATA, (args["memory"], args["memory"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = source.compile_source(script.read_bytes(), str(script), args["mappings"])
    _warm_up(args["model"], args["format"])
    argument = _receive(sock)
    if argument is None:
        return 0
    take_output(fds[1], fds[2])
    os.chdir(script.parent)
    sys.argv = [str(script), argument.decode()]
    sys.path.insert(0, str(script.parent))
    known = set(sys.modules)
    status = execute(code, str(script))
    try:
        sock.sendall(CODE.pack(status) + json.dumps(_installed(known)).encode())
    except OSError:
        return 1
    os._exit(status & 0xFF)


def _warm_up(path: str, kind: str) -> None:
    """Touch, while nobody waits, the code and the pages a prediction with this model needs.

    The script loads the model itself; a second time in one process costs a fifth of the first.
    """
    if kind not in ("pickle", "xgboost", "skops") or os.path.getsize(path) > WARM_SIZE:
        return
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import numpy
        import pandas

        model = formats.load(path, kind)
        names = list(model.features) or None
        frame = pandas.DataFrame(numpy.zeros((1, model.width or 1)), columns=names)
        pandas.DataFrame.from_records(frame.to_dict("records"))
        model.predict(frame)


def _installed(known: set[str]) -> list[str]:
    """Return the library modules the script made us import, for the next process to have them."""
    found = []
    for name in set(sys.modules) - known:
        file = getattr(sys.modules[name], "__file__", None)
        if file and ("site-packages" in file or file.startswith(sys.base_prefix)):
            found.append(name)
    return sorted(found)[:500]


def _receive(sock: socket.socket) -> bytes | None:
    data = b""
    while len(data) < SIZE.size or len(data) < SIZE.size + SIZE.unpack_from(data)[0]:
        chunk = sock.recv(1 << 20)
        if not chunk:
            return None
        data += chunk
    return data[SIZE.size :]
