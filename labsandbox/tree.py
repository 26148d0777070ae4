"""Open paths beneath a trusted folder, whatever those who may write there put in the way.

A path from a manifest, a volume, an image or a program's own files is a text somebody else wrote,
and the folders it leads through may be swapped for links at any moment. So such a path is never
handed to `open`: the kernel resolves it beneath an open folder (`openat2`, Linux 5.6), and refuses
`..`, links and mounts that lead out. Older kernels get a walk, one component at a time. What is
opened is used by its descriptor; a path that was checked and is opened again later proves nothing.

A *route* is a tuple: the path of a folder the platform made and nobody else can replace, then
paths, each of which stays beneath what the one before led to.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import stat
import struct
from collections.abc import Iterator, Sequence

Route = tuple[str, ...]

_OPENAT2 = 437  # the same everywhere
_NO_MAGIC_LINKS, _NO_LINKS, _BENEATH = 0x02, 0x04, 0x08
_ATTEMPTS = 64  # openat2 answers EAGAIN when a folder on the way is renamed at that moment
_MOST_LINKS, _LONGEST = 40, 4096  # as in the kernel
_ROUNDS = 20
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


def clean(path: str) -> str:
    """Return a container's path relative to its root, `..` stopping at the root.

    >>> clean("/data/../../etc//x/")
    'etc/x'
    """
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return "/".join(names)


def open_at(root: int, path: str, flags: int, mode: int = 0, *, follow: bool = False) -> int:
    """Open a path beneath an open folder; links are refused, or followed while they stay inside."""
    name = _encode(path)
    flags |= os.O_CLOEXEC if flags & os.O_PATH else os.O_CLOEXEC | os.O_NOCTTY
    if not has_openat2():
        return _walk(root, path, flags, mode, follow)
    resolve = _BENEATH | _NO_MAGIC_LINKS | (0 if follow else _NO_LINKS)
    how = struct.pack("=QQQ", flags, mode if flags & os.O_CREAT else 0, resolve)
    for _ in range(_ATTEMPTS):
        found = _openat2(root, name, how)
        if found >= 0:
            return found
        if (number := ctypes.get_errno()) not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), path)
    raise OSError(errno.EAGAIN, "the folders on the way are being renamed", path)


def open_route(route: Sequence[str], flags: int = os.O_PATH, *, follow: bool = True) -> int:
    """Open a route; `follow` says whether its last part may lead through links that stay inside."""
    if isinstance(route, str):
        raise TypeError(f"Expected a tuple of paths, found {route!r}.")
    folder = os.open(route[0], os.O_PATH | os.O_CLOEXEC)
    if len(route) == 1:
        return folder if flags == os.O_PATH else _replaced(folder, ".", flags, follow)
    for part in route[1:-1]:
        folder = _replaced(folder, part, os.O_PATH, True)
    return _replaced(folder, route[-1], flags, follow)


def make_folders(root: int, path: str, *, follow: bool = False) -> int:
    """Return the open folder at a path, made with its parents where they are missing."""
    folder, done = os.open(".", os.O_PATH | os.O_CLOEXEC, dir_fd=root), ""
    for name in filter(None, path.split("/")):
        done = f"{done}/{name}"
        try:
            following = _open_folder(root, folder, name, done, follow)
        finally:
            os.close(folder)
        folder = following
    return folder


def write(root: int, path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a new file, its folders made; what has the name already is not written to."""
    above, _, name = path.rpartition("/")
    folder = make_folders(root, above)
    try:
        number = open_at(folder, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    finally:
        os.close(folder)
    with os.fdopen(number, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)


def read_end(route: Sequence[str], limit: int) -> bytes | None:
    """Return the last bytes of a regular file; None for a link, a pipe, a folder or nothing."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        number = open_route(route, flags, follow=False)
    except OSError:
        return None
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            return None
        return os.pread(number, limit, max(0, status.st_size - limit))
    except OSError:
        return None
    finally:
        os.close(number)


def put_link(root: int, path: str, target: str, *, is_own: bool) -> None:
    """Make a link at a path; only what is empty gives way to it, unless the tree is our own."""
    above, _, name = path.rpartition("/")
    folder = make_folders(root, above)
    try:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            is_empty = stat.S_ISREG(status.st_mode) and not status.st_size
            if is_own:
                _remove(folder, name)
            elif stat.S_ISLNK(status.st_mode) or is_empty:
                os.unlink(name, dir_fd=folder)
            elif stat.S_ISDIR(status.st_mode):
                os.rmdir(name, dir_fd=folder)
        os.symlink(target, name, dir_fd=folder)
    finally:
        os.close(folder)


def remove(path: str) -> bool:
    """Remove a folder with all it holds, whatever its owner made of it; False when it stays.

    No link is followed and no path is used twice, so a program that is still alive in there can
    neither have another file removed nor its mode changed. Any depth costs two descriptors.
    """
    above, name = os.path.split(os.path.abspath(path))
    try:
        folder = os.open(above, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        for _ in range(_ROUNDS):
            with contextlib.suppress(OSError):
                _remove(folder, name)
            try:
                os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return True
        return False
    finally:
        os.close(folder)


@functools.cache
def has_openat2() -> bool:
    """Tell whether the kernel, and what it runs in, offers openat2."""
    found = _openat2(-100, b".", struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, 0))
    if found >= 0:
        os.close(found)
    return found >= 0


def _openat2(root: int, name: bytes, how: bytes) -> int:
    number, size = ctypes.c_long(_OPENAT2), ctypes.c_size_t(len(how))
    return int(_libc.syscall(number, ctypes.c_int(root), name, how, size))


def _encode(path: str) -> bytes:
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise OSError(errno.EINVAL, "not a path") from error
    if b"\0" in name:
        raise OSError(errno.EINVAL, "a path with a NUL", path)
    if len(name) >= _LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path[:80])
    # A container's absolute path begins at its root.
    return name.lstrip(b"/") or b"."


def _replaced(folder: int, path: str, flags: int, follow: bool) -> int:
    try:
        return open_at(folder, path, flags, follow=follow)
    finally:
        os.close(folder)


def _open_folder(root: int, folder: int, name: str, whole: str, follow: bool) -> int:
    """Open one more component, made when missing; a link is resolved beneath the root again."""
    flags = os.O_PATH | os.O_DIRECTORY
    for _ in range(2):
        try:
            if name == "..":
                return open_at(root, whole, flags, follow=follow)
            return open_at(folder, name, flags)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
        except OSError as error:
            if not follow or error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            return open_at(root, whole, flags, follow=True)
    return open_at(folder, name, flags)


def _walk(root: int, path: str, flags: int, mode: int, follow: bool) -> int:
    """Do what openat2 does, one component at a time, never asking the kernel for a `..`."""
    above = [os.open(".", os.O_PATH | os.O_CLOEXEC, dir_fd=root)]
    names = path.split("/")[::-1]
    links = 0
    try:
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(above) == 1:
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
                os.close(above.pop())
                continue
            is_last = not any(rest not in ("", ".") for rest in names)
            found = _look(above[-1], name)
            if found is not None:
                try:
                    target = _link_target(found, is_last and bool(flags & os.O_NOFOLLOW))
                    links += target is not None
                    if target is not None:
                        if not follow or links > _MOST_LINKS:
                            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                        if target.startswith("/"):
                            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
                        names += target.split("/")[::-1]
                        continue
                    if not is_last:
                        above.append(os.open(".", os.O_PATH | os.O_CLOEXEC, dir_fd=found))
                        continue
                finally:
                    os.close(found)
            elif not is_last or not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return _no_link(os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=above[-1]), path)
        return os.open(".", flags, mode, dir_fd=above[-1])
    finally:
        for number in above:
            os.close(number)


def _no_link(number: int, path: str) -> int:
    """Return a descriptor unless, with O_PATH, it is one of a link that has just been put there."""
    if stat.S_ISLNK(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return number


def _look(folder: int, name: str) -> int | None:
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None


def _link_target(found: int, is_kept: bool) -> str | None:
    """Return where an open link leads; None for anything else."""
    if not stat.S_ISLNK(os.fstat(found).st_mode):
        return None
    if is_kept:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return os.readlink("", dir_fd=found)


def _remove(above: int, name: str) -> None:
    """Remove an entry of an open folder; folders within move up, so depth does not matter."""
    try:
        folder = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            os.unlink(name, dir_fd=above)
            return
        _unlock(folder)
        pending = _empty(folder, folder)
        while pending:
            entry = pending.pop()
            with contextlib.suppress(FileNotFoundError):
                inner = os.open(entry, _FOLDER, dir_fd=folder)
                try:
                    _unlock(inner)
                    pending += _empty(inner, folder)
                finally:
                    os.close(inner)
                os.rmdir(entry, dir_fd=folder)
        os.rmdir(name, dir_fd=above)
    finally:
        os.close(folder)


def _unlock(folder: int) -> None:
    """Give an open folder its owner's rights back."""
    with contextlib.suppress(OSError):
        os.chmod(f"/proc/self/fd/{folder}", stat.S_IRWXU)  # a descriptor of O_PATH has no fchmod


def _empty(folder: int, top: int) -> list[str]:
    """Unlink a folder's files and move its folders to the top; return their names there."""
    found = []
    for name in list(_names(folder)):
        try:
            os.unlink(name, dir_fd=folder)
            continue
        except FileNotFoundError:
            continue
        except (IsADirectoryError, PermissionError):
            pass
        if folder == top:
            found.append(name)
            continue
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            _unlock(inner)  # to move a folder is to write its `..`
        finally:
            os.close(inner)
        moved = f".{os.urandom(8).hex()}"
        os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
        found.append(moved)
    return found


def _names(folder: int) -> Iterator[str]:
    number = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        with os.scandir(number) as entries:
            yield from [entry.name for entry in entries]
    finally:
        os.close(number)
