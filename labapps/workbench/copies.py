"""Copy folders of the project repository: by open folders, so that no swapped link leads out.

Those who write in a project may put a link in the place of a folder at any moment. So each folder
is opened once, in the one above, and used by its descriptor. Links, pipes and devices are left out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from labapps.workbench.files import DEEPEST, DIRECTORY
from labapps.workbench.refusal import conflict

__all__ = ["SKIPPED", "copy", "digest_of", "digest_of_files", "opened", "unless_swapped"]

SKIPPED = frozenset({".git", "__pycache__"})
PIECE = 1 << 20
GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)


def copy(source: int, target: int) -> str:
    """Copy what is in one open folder into another; return the digest of what was copied."""
    return _digest(_walk(source, target, "", 0))


def digest_of(source: int) -> str:
    """Return the digest of the names and contents of an open folder's files."""
    return _digest(_walk(source, None, "", 0))


def digest_of_files(files: Mapping[str, str]) -> str:
    """Return the digest of a folder whose files have these names and digests.

    >>> digest_of_files({"a": "00", "b": "11"}) == digest_of_files({"b": "11", "a": "00"})
    True
    """
    return _digest(_line(path, content) for path, content in files.items())


def _line(path: str, content: str) -> str:
    return f"{path}\0{content}\n"


def _digest(lines: Iterable[str]) -> str:
    total = hashlib.sha256()
    for line in sorted(lines):
        total.update(line.encode("utf-8", "surrogateescape"))
    return total.hexdigest()[:40]


def _walk(source: int, target: int | None, path: str, depth: int) -> Iterator[str]:
    """Yield a line of name and content for each file."""
    if depth > DEEPEST:
        raise conflict(f"{path} is more than {DEEPEST} folders deep; keep it elsewhere.")
    for name in sorted(os.listdir(source)):
        if name in SKIPPED:
            continue
        with unless_swapped():
            kind = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                with opened(name, source) as inner, _made(name, target) as copied:
                    yield from _walk(inner, copied, f"{path}{name}/", depth + 1)
            elif stat.S_ISREG(kind):
                with opened(name, source, os.O_RDONLY | os.O_NONBLOCK) as file:
                    if stat.S_ISREG(os.fstat(file).st_mode):
                        yield _line(f"{path}{name}", _content(file, name, target))


def _content(file: int, name: str, target: int | None) -> str:
    """Return the digest of an open file, copied as it is read."""
    digest, copied = hashlib.sha256(), None
    if target is not None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = 0o755 if os.fstat(file).st_mode & 0o100 else 0o644
        copied = os.open(name, flags, mode, dir_fd=target)
    try:
        while piece := os.read(file, PIECE):
            digest.update(piece)
            while copied is not None and piece:
                piece = piece[os.write(copied, piece) :]
    finally:
        if copied is not None:
            os.close(copied)
    return digest.hexdigest()


@contextmanager
def opened(name: str, folder: int, flags: int = DIRECTORY) -> Iterator[int]:
    """Open what an open folder has by this name, if it is no link."""
    number = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield number
    finally:
        os.close(number)


@contextmanager
def _made(name: str, folder: int | None) -> Iterator[int | None]:
    if folder is None:
        yield None
        return
    os.mkdir(name, 0o755, dir_fd=folder)
    with opened(name, folder) as number:
        yield number


@contextmanager
def unless_swapped() -> Iterator[None]:
    """Leave out what has just gone, or has become a link."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise
