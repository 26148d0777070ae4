"""Which host files a container may read and write: a pure list for Landlock.

An allow list: the system's programs and libraries, this Python with its packages, the container's
own root and its mounts. What is not named (other pods, the platform's keys, other tenants' project
repositories, the learner's home) cannot even be read.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from labsandbox.node.volumes import Mount

# differs: containers share the machine's process list, network and system folders. What they may
# read and write is an allow list, /dev/shm is closed, and a command run by exec cannot signal the
# container's other processes.
_SYSTEM = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/sys",
    "/nix/store", "/run/systemd/resolve", "/var/lib/ca-certificates",
]  # fmt: skip
# By name: the whole of /dev would be the machine's disks to a pod of a platform that root runs.
_DEVICES = [
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
]


def readable(state: Path, extra: Iterable[str]) -> list[str]:
    """Return the trees every container may read."""
    interpreter = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    own = [state / "resolver", state / "pki" / "ca.crt", state / "node" / "lib"]
    packages = [os.path.realpath(path) for path in (state / "node" / "lib").glob("*")]
    home = [os.environ["JAVA_HOME"]] if os.environ.get("JAVA_HOME") else []
    return [
        *_SYSTEM,
        *_public(Path("/etc")),
        *sorted(interpreter),
        *map(str, own),
        *packages,
        *home,
        *extra,
    ]


def _public(folder: Path) -> list[str]:
    """Name what is open to everybody in a folder: root's own pods read no password file either."""
    found = []
    for entry in sorted(folder.iterdir()):
        try:
            if entry.stat().st_mode & stat.S_IROTH:
                found.append(str(entry))
        except OSError:
            continue  # a link to nowhere
    return found


def writable(root: Path, pipes: Iterable[Path], mounts: Iterable[Mount]) -> list[str]:
    """Return the trees one container may write."""
    own = [str(root), *map(str, pipes)]
    return [*_DEVICES, *own, *(str(m.source) for m in mounts if m.is_writable)]


def mounted_readable(mounts: Iterable[Mount]) -> list[str]:
    """Return the trees one container may only read: its read-only mounts."""
    return [str(mount.source) for mount in mounts if not mount.is_writable]
