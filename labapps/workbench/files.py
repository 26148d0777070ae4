"""The files of a project: opened component by component, so no name leads out of its folder.

Symbolic links are never followed, whoever made them: what a link names may change after a check.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labapps.workbench.refusal import Refusal, conflict, invalid, missing

__all__ = ["Folder", "check", "split"]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LONGEST = 255
DEEPEST = 200


def split(path: str) -> list[str]:
    """Return the names of a path below a project; refuse one that could leave it.

    >>> split("data/a.csv")
    ['data', 'a.csv']
    >>> split("../secret")
    Traceback (most recent call last):
    labapps.workbench.refusal.Refusal: A path below the project is expected, such as data/a.csv; \
found '../secret'.
    """
    return check(path.split("/"))


def check(names: Sequence[str]) -> list[str]:
    """Return the names when each of them is the name of a file."""
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    if not all(map(is_plain, kept)):
        raise invalid(
            f"A path below the project is expected, such as data/a.csv; found {'/'.join(names)!r}."
        )
    return kept


def is_plain(name: str) -> bool:
    """Tell whether a name is one component of a path, and stays in the folder it is used in.

    >>> [is_plain(name) for name in ("a.csv", "..", "/etc", "a/b", "")]
    [True, False, False, False, False]
    """
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        return False
    if any(0xD800 <= ord(letter) < 0xE000 for letter in name):
        return False
    return len(name.encode()) <= LONGEST


def _remove(folder: int, name: str, depth: int = 0) -> None:
    """Remove a file, a link or a tree from an open folder; the only way to remove one here.

    With a path for a name the system would ignore `folder`: an absolute one is taken as it stands.
    """
    _require_plain(name)
    if depth > DEEPEST:
        raise conflict(f"The folder is more than {DEEPEST} folders deep; remove it in a job.")
    try:
        os.unlink(name, dir_fd=folder)
        return
    except IsADirectoryError:
        below = os.open(name, DIRECTORY, dir_fd=folder)
    try:
        for entry in os.listdir(below):
            with contextlib.suppress(FileNotFoundError):
                _remove(below, entry, depth + 1)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=folder)


def _require_plain(name: str) -> None:
    # No `assert`: this holds under `python -O` too.
    if not is_plain(name):
        raise AssertionError(f"expected one component of a path; found {name!r}")


class Folder:
    """A folder of the project repository: of one project, of one run, or all of it.

    `root` is the platform's own; what lies below may be anything that a job put there.
    """

    def __init__(self, root: Path, *base: str) -> None:
        self.root, self.base = root, base

    def tail(self, names: Sequence[str], offset: int, limit: int) -> bytes:
        """Return what a file has from an offset on; nothing when it is none, or a link."""
        try:
            with self.opened(names[:-1]) as folder:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                number = os.open(names[-1], flags, dir_fd=folder)
            with os.fdopen(number, "rb") as file:
                if not stat.S_ISREG(os.fstat(number).st_mode):
                    return b""
                file.seek(offset)
                return file.read(limit)
        except Refusal:
            return b""
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                return b""
            raise

    def list(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return what is in a folder of the project."""
        names, found = check(names), []
        with self.opened(names) as folder:
            for name in sorted(os.listdir(folder)):
                with contextlib.suppress(FileNotFoundError):
                    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    found.append(_entry([*names, name], seen))
        return found

    def is_folder(self, names: Sequence[str]) -> bool:
        """Tell whether a path is a folder; refuse one that is not there."""
        names = check(names)
        if not names:
            return True
        with self.opened(names[:-1]) as folder, _explained(names):
            seen = os.stat(names[-1], dir_fd=folder, follow_symlinks=False)
        return stat.S_ISDIR(seen.st_mode)

    def read(self, names: Sequence[str], limit: int) -> bytes:
        """Return the content of a file."""
        names = check(names)
        if not names:
            raise invalid("A file's path is expected after /files/, such as /files/train.py.")
        with self.opened(names[:-1]) as folder, _explained(names):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            number = os.open(names[-1], flags, dir_fd=folder)
            with os.fdopen(number, "rb") as file:
                seen = os.fstat(number)
                if not stat.S_ISREG(seen.st_mode):
                    raise invalid(f"{'/'.join(names)} is not a file; only files can be read.")
                if seen.st_size > limit:
                    raise invalid(
                        f"{'/'.join(names)} has {seen.st_size} bytes; at most {limit} are sent. "
                        "Read it in a job."
                    )
                return file.read()

    def write(self, names: Sequence[str], content: bytes) -> None:
        """Replace a file as a whole; make the folders it lies in."""
        names = check(names)
        if not names:
            raise invalid("A file's path is expected after /files/, such as /files/train.py.")
        with self.opened(names[:-1], make=True) as folder, _explained(names):
            _require_plain(names[-1])
            draft = f".{secrets.token_hex(8)}.draft"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            number = os.open(draft, flags, 0o644, dir_fd=folder)
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(number)
                os.replace(draft, names[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(draft, dir_fd=folder)
                raise

    def discard(self, name: str) -> None:
        """Remove a folder of the workbench's own with all that is in it; none is as good."""
        with contextlib.suppress(FileNotFoundError), self.opened() as folder:
            _remove(folder, name)

    def delete(self, names: Sequence[str]) -> None:
        """Delete a file or a folder with all that is in it."""
        names = check(names)
        if not names:
            raise invalid("The project's own folder goes with the project: DELETE the project.")
        with self.opened(names[:-1]) as folder, _explained(names):
            _remove(folder, names[-1])

    @contextmanager
    def opened(self, names: Sequence[str] = (), *, make: bool = False) -> Iterator[int]:
        """Open a folder, one component after the other; made when it is missing and to be made."""
        # The root may be a link of the platform's; nothing below it may be one.
        current = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for number, name in enumerate((*self.base, *names)):
                with _explained(names):
                    _require_plain(name)
                    if make and number >= len(self.base):
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(name, dir_fd=current)
                    below = os.open(name, DIRECTORY, dir_fd=current)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)


def _entry(names: Sequence[str], seen: os.stat_result) -> dict[str, Any]:
    return {
        "path": "/".join(names),
        "is_dir": stat.S_ISDIR(seen.st_mode),
        "file_size": str(seen.st_size),
    }


@contextmanager
def _explained(names: Sequence[str]) -> Iterator[None]:
    path = "/".join(names)
    try:
        yield
    except Refusal:
        raise
    except FileNotFoundError as error:
        raise missing(f"{path} is not in this project; GET …/files lists what is.") from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise conflict(f"{path} crosses a file and a folder of the same name.") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise invalid(f"{path} leads over a symbolic link, which is not followed.") from error
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise invalid(f"{path} is no name of a file here: {error.strerror}.") from error
        if error.errno == errno.ENOTEMPTY:
            raise conflict(f"{path} was written to while it was removed; do it again.") from error
        raise
