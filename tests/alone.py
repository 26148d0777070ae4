"""A network namespace with loopback only: the kernel counts what would have gone outside.

It counts each packet that had no way out (OutNoRoutes) and each datagram, such as a question to a
name server, also to one on loopback. A part of a test that runs in there is its own module, started
as a program: `inside` starts it, `report` is its last line.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT

__all__ = ["QUIET", "inside", "needs_namespaces", "raise_loopback", "report"]

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
WALLS = ["unshare", "--map-root-user", "--net"]
QUIET = {"interfaces": 1, "no route": 0, "datagrams": 0}


def can_open_namespaces() -> bool:
    """Tell whether this machine lets us open a namespace."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*WALLS, "true"], capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not can_open_namespaces(), reason="this machine opens no namespaces: nothing would be proven"
)


def inside(module: str, *words: str) -> dict[str, int]:
    """Run a module in a namespace without a network; return what the kernel counted."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "MLFLOW", "CI"))}
    done = subprocess.run(
        [*WALLS, sys.executable, "-m", module, *words],
        env=env | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def raise_loopback() -> None:
    """Switch the loopback interface of this namespace on."""
    with socket.socket() as control:
        asked = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, asked))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def report() -> None:
    """Print the kernel's counters of this namespace."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    table = {
        (names[0], name): int(value)
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }
    counted = {
        "interfaces": len(socket.if_nameindex()),
        "no route": table["Ip:", "OutNoRoutes"],
        "datagrams": table["Udp:", "OutDatagrams"],
    }
    print(json.dumps(counted))
