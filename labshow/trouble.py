"""Tell an error in a few sentences where its stack would fill pages.

Spark answers a mistake with hundreds of lines of Java, a connection that fails with a stack through
five libraries, a full disk looks different from each of them, and a missing name does not say which
cell makes it. `tell()` lets a notebook show what a learner can use: what is wrong, in which line of
the cell, and what to do where it is known. `%tb` in a cell shows the whole stack.
"""

from __future__ import annotations

import errno
import json
import linecache
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from labshow import origin

__all__ = ["load_ipython_extension", "reason", "sentences", "tell"]

NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded|File too large")
# Whose stacks are longer than a screen.
LONG = ("pyspark", "py4j", "delta", "requests", "urllib3", "kubernetes")
AWAY = re.compile(
    r"host='(?P<host>[^']*)', port=(?P<port>\d+).*(?P<why>\[(?:SSL|Errno)[^\]]*\][^'\"()]*)", re.S
)
LITTLE = 100 * 2**20  # what is less than this is no room for a table
LONGEST = 400


_folders: dict[str, Callable[[], Path]] = {}


def load_ipython_extension(shell: Any) -> None:
    """Tell a missing name in a sentence from the kernel's first cell on, before any import."""
    tell()


def tell(folders: Mapping[str, Callable[[], Path]] | None = None) -> None:
    """Let this notebook tell errors of Spark, and a full disk, in sentences.

    `folders` are those that may be full, by what a learner calls them.
    """
    _folders.update(folders or {})
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell: Any = get_ipython()
    if shell is not None:
        shell.set_custom_exc((Exception,), _show)


def sentences(error: BaseException, trace: TracebackType | None = None) -> str:
    """Return what a learner can use of an error; nothing when its own stack says it best.

    >>> sentences(KeyError("a"))
    ''
    """
    if missing := origin.sentence(error):
        return f"NameError: {missing}"
    full = NO_ROOM.search(str(error)) or getattr(error, "errno", 0) in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
    )
    if not full and type(error).__module__.partition(".")[0] not in LONG:
        return ""
    said = _no_room() if full else f"{type(error).__name__}: {reason(error)[:LONGEST]}"
    return "\n".join(part for part in (said, _line_of_cell(trace), "All of it: %tb") if part)


def reason(error: BaseException) -> str:
    """Return the sentence that matters out of an error of Spark or of a connection.

    >>> reason(ValueError("requirement failed: keep a week. If you have\\n  at java.lang.Thread"))
    'requirement failed: keep a week.'
    >>> reason(ValueError("[X.Y] Encountered error while reading file:/a/b/part-1.parquet. Sorry."))
    '[X.Y] Encountered error while reading part-1.parquet. Sorry.'
    >>> reason(OSError("Pool(host='h', port=1): … (… [Errno 111] Connection refused'))"))
    '[Errno 111] Connection refused (h:1)'
    """
    if said := _message(getattr(error, "body", None)):  # of the Kubernetes API
        return f"({getattr(error, 'status', '')}) {said}"
    if found := AWAY.search(str(error)):
        return f"{found['why'].strip()} ({found['host']}:{found['port']})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    coded = [line for line in lines if re.search(r"\[[A-Z_]+[A-Z0-9_.]*\]", line)]
    causes = [line for line in lines if "Exception: " in line]
    line = next(iter(coded or causes[-1:] or lines), type(error).__name__)
    line = re.sub(r"^.*?Exception: ", "", line)
    line = re.sub(r"\b(?:file )?file:/\S*/(?=[^/\s])", "", line)
    whole = re.match(r".*[.!?](?=\s+\S)", line)  # the last sentence may go on in the next line
    return whole[0] if whole and not re.search(r"[.!?:)\]]$", line) else line


def _message(body: object) -> str:
    try:
        said = json.loads(body) if isinstance(body, str | bytes) else {}
    except ValueError:
        return ""
    return str(said.get("message", "")) if isinstance(said, dict) else ""


def _show(shell: Any, kind: Any, error: Any, trace: Any, tb_offset: int | None = None) -> None:
    words = sentences(error, trace)
    if words:
        error._render_traceback_ = lambda: words.splitlines()
    try:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    finally:
        if words:
            del error._render_traceback_  # so that %tb shows the stack


def _line_of_cell(trace: TracebackType | None) -> str:
    """Name the line of the learner's cell in which it happened."""
    found = ""
    while trace is not None:
        name, number = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if "ipykernel_" in name or name.startswith("<ipython-input"):
            found = f"In line {number} of this cell: {linecache.getline(name, number).strip()}"
        trace = trace.tb_next
    return found


def _no_room() -> str:
    places = [
        *((name, folder()) for name, folder in _folders.items()),
        ("the folder for temporary files", Path(tempfile.gettempdir())),
    ]
    full = [
        f"{name} ({place}: {free // 2**20} MB free)"
        for name, place in places
        if (free := _free(place)) < LITTLE
    ]
    return (
        f"NoRoomLeft: Expected room to write, found none in {', '.join(full) or 'a folder'}. "
        "Make room: the last cell of each lab removes what only that lab needs, and fewer `rows` "
        "need less; `df -h` in a terminal shows the disks. Then run this lab from the top."
    )


def _free(place: Path) -> int:
    try:
        return shutil.disk_usage(place).free
    except OSError:  # it is not there yet: then it is not full either
        return LITTLE
