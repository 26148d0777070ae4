"""The digest of a folder: what a registered model's files are known by.

It is what these commands print, so anybody can compute it without us:

    cd folder
    find * -type f ! -name registered_model_meta |
        LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["NotPlain", "folder_digest"]

ADDED = frozenset({"registered_model_meta"})
"""What MLflow's client adds to a model that it has downloaded."""
PIECE = 1 << 20


class NotPlain(OSError):
    """A folder holds something other than files and folders."""


def folder_digest(folder: Path) -> str:
    """Return the sha256 of the list of a folder's files; links and devices are refused."""
    lines = hashlib.sha256()
    for name in sorted(_files(folder), key=os.fsencode):
        lines.update(f"{_file_digest(folder / name)}  ".encode() + os.fsencode(name) + b"\n")
    return lines.hexdigest()


def _files(folder: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    for where, folders, files in os.walk(folder, onerror=fail):
        for name in folders + files:
            path = Path(where, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                if name not in ADDED:
                    yield str(path.relative_to(folder))
            elif not stat.S_ISDIR(mode):
                raise NotPlain(f"{path.relative_to(folder)} is neither a file nor a folder")


def _file_digest(path: Path) -> str:
    found = hashlib.sha256()
    # Without following links and without waiting: the path may be exchanged meanwhile.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotPlain(f"{path.name} is no file any more")
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()
