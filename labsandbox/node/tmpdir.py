"""A short name for a container's folder of temporary files.

A Unix socket's path holds 107 characters, and a container's own `tmp` lies far below the state
folder. Programs that make sockets in TMPDIR (multiprocessing, Airflow, Jupyter, tmux) would fail
with "AF_UNIX path too long". A link in /tmp is short; what is written through it lies where it
always did, so confinement and accounting do not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

_BASE = Path("/tmp")


def make(root: Path) -> str:
    """Return a short path of a container's tmp folder; its long one where no link can be made."""
    target = str(root / "tmp")
    folder = _BASE / f"labs-{os.geteuid()}"
    name = hashlib.sha256(target.encode()).hexdigest()[:12]
    for _ in range(2):  # another sandbox may remove the folder, empty as it was, in between
        with contextlib.suppress(OSError):
            ensure(folder)
            with contextlib.suppress(FileExistsError):
                os.symlink(target, folder / name)
            if os.readlink(folder / name) == target:
                return str(folder / name)
    return target


def remove(below: Path) -> None:
    """Remove the links to folders below this one."""
    folder = _BASE / f"labs-{os.geteuid()}"
    with contextlib.suppress(OSError):
        ensure(folder)
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if Path(os.readlink(entry.path)).is_relative_to(below):
                    os.unlink(entry.path)
        os.rmdir(folder)  # as long as nothing else is in it


def ensure(folder: Path) -> None:
    """Make a folder of ours alone; raise OSError when another user was faster."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder of this user alone")
