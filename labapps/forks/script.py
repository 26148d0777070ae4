"""Run a learner's script in this process as if an interpreter had been started for it."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
import traceback
import types

__all__ = ["execute", "take_output"]


def take_output(out: int, err: int) -> None:
    """Make the given descriptors standard output and error, and nothing standard input."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def execute(code: types.CodeType, name: str, *, lines: bool = False) -> int:
    """Run code as `__main__`; return the exit code its own interpreter would have.

    `lines`: show each line of output when it is printed, not when the script ends.
    """
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    writers = _writer(1, "surrogateescape", lines), _writer(2, "backslashreplace", True)
    sys.stdout, sys.stderr = writers
    program = types.ModuleType("__main__")
    program.__file__ = name
    sys.modules["__main__"] = program
    atexit._clear()  # what libraries asked for belongs to the process we were forked from
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
        # Our own frame is none of the learner's business.
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, trace)
        status = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for stream in writers:
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 120
    return int(status)


def _writer(fd: int, errors: str, lines: bool) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", errors, line_buffering=lines)
