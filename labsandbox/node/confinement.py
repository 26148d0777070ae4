"""Which host files a container may read and write: a pure list for Landlock.

An allow list: the system's programs and libraries, this Python with its packages, the container's
own root and its mounts. What is not named (other pods, the platform's keys, other tenants' project
repositories, the learner's home) cannot even be read.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from labsandbox.node.volumes import Mount
from labsandbox.tree import Route

# differs: containers share the machine's process list, network and system folders. What they may
# read and write is an allow list, and a command run by exec cannot signal the container's other
# processes.
_SYSTEM = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/sys",
    "/nix/store", "/run/systemd/resolve", "/var/lib/ca-certificates",
]  # fmt: skip
# Not readable whatever their modes are: a program of an earlier release could change them.
_PRIVATE = {
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "sudoers",
    "sudoers.d",
    "opasswd",
    "private",
}
# By name: the whole of /dev would be the machine's disks to a pod of a platform that root runs.
_DEVICES = [
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
]


def readable(state: Path, extra: Iterable[str], python: str = sys.executable) -> list[Route]:
    """Return the trees a container may read; of the environments, only the one it runs in."""
    prefix = sys.prefix if python == sys.executable else str(Path(python).parent.parent)
    interpreter = {prefix, sys.base_prefix, str(Path(python).resolve().parent.parent)}
    own = [state / "resolver", state / "pki" / "ca.crt", state / "node" / "lib"]
    packages = [os.path.realpath(path) for path in (state / "node" / "lib").glob("*")]
    home = [os.environ["JAVA_HOME"]] if os.environ.get("JAVA_HOME") else []
    given = [*_SYSTEM, *public(Path("/etc")), *sorted(interpreter), *map(str, own)]
    return [(path,) for path in [*given, *packages, *home, *extra]]


@functools.cache
def public(folder: Path) -> tuple[str, ...]:
    """Name the largest trees in which everybody may read everything: root's pods read no secret.

    Looked at once: what a program opens to everybody later is not open to the next one.
    """
    inside: list[str] = []
    is_public = True
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return ()
    for entry in entries:
        try:
            mode = entry.stat().st_mode
        except OSError:
            continue  # a link to nowhere
        if not mode & stat.S_IROTH or entry.name in _PRIVATE:
            is_public = False
        elif stat.S_ISDIR(mode) and not entry.is_symlink():
            found = public(entry)
            is_public = is_public and found == (str(entry),)
            inside += found
        else:
            inside.append(str(entry))
    return (str(folder),) if is_public else tuple(inside)


def writable(root: Path, pipes: Iterable[Path], mounts: Iterable[Mount]) -> list[Route]:
    """Return the trees one container may write."""
    own = [*_DEVICES, str(root), *map(str, pipes)]
    return [*((path,) for path in own), *(m.route for m in mounts if m.is_writable)]


def mounted_readable(mounts: Iterable[Mount]) -> list[Route]:
    """Return the trees one container may only read: its read-only mounts."""
    return [mount.route for mount in mounts if not mount.is_writable]
