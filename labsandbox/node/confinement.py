"""Which host files a container may read and write: a pure list for Landlock.

An allow list: the system's programs and libraries, this Python with its packages, the container's
own root and its mounts. What is not named (other pods, the platform's keys, other tenants' project
repositories, the learner's home) cannot even be read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from labsandbox.node.volumes import Mount

# differs: containers share the machine's process list, network and system folders. What they may
# read and write is an allow list, /dev/shm is closed, and a command run by exec cannot signal the
# container's other processes.
_SYSTEM = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys", "/dev",
    "/nix/store", "/run/systemd/resolve", "/var/lib/ca-certificates",
]  # fmt: skip
_DEVICES = [
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx",
    "/dev/pts", "/dev/fd", "/dev/stdout", "/dev/stderr",
]  # fmt: skip
_DEVICES = [
    f"/dev/{name}"
    for name in [
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "ptmx",
        "pts",
        "fd",
        "stdout",
        "stderr",
    ]
]


def readable(state: Path, extra: Iterable[str]) -> list[str]:
    """Return the trees every container may read."""
    interpreter = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    own = [state / "resolver", state / "pki" / "ca.crt", state / "node" / "lib"]
    packages = [os.path.realpath(path) for path in (state / "node" / "lib").glob("*")]
    home = [os.environ["JAVA_HOME"]] if os.environ.get("JAVA_HOME") else []
    return [*_SYSTEM, *sorted(interpreter), *map(str, own), *packages, *home, *extra]


def writable(root: Path, pipes: Iterable[Path], mounts: Iterable[Mount]) -> list[str]:
    """Return the trees one container may write."""
    own = [str(root), *map(str, pipes)]
    return [*_DEVICES, *own, *(str(m.source) for m in mounts if m.is_writable)]


def mounted_readable(mounts: Iterable[Mount]) -> list[str]:
    """Return the trees one container may only read: its read-only mounts."""
    return [str(mount.source) for mount in mounts if not mount.is_writable]
