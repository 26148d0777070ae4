"""Run a program with the network cut off: a namespace of its own, or refused sockets."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

UP = 'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"'
REFUSE = '''\
"""Refuse every connection that leaves this machine (for machines without namespaces)."""

import ipaddress
import socket

_connect = socket.socket.connect


def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        try:
            is_here = ipaddress.ip_address(address[0]).is_loopback
        except ValueError:
            is_here = address[0] == "localhost"
        if not is_here:
            raise ConnectionRefusedError(f"the network is cut off: {address[0]}")
    return _connect(self, address)


socket.socket.connect = connect
'''


@functools.cache
def has_namespaces() -> bool:
    """Tell whether this machine lets us make a network namespace with a loopback."""
    if shutil.which("unshare") is None:
        return False
    asked = ["unshare", "-rn", "sh", "-c", UP, "sh", "sh", "-c", "grep -q lo: /proc/net/dev"]
    return subprocess.run(asked, capture_output=True).returncode == 0


def cut(
    command: list[str], environment: dict[str, str], folder: Path, *, namespace: bool
) -> tuple[list[str], dict[str, str]]:
    """Return a command and its environment with the network cut off."""
    if namespace:
        return ["unshare", "-rn", "sh", "-c", UP, "sh", *command], environment
    (folder / "sitecustomize.py").write_text(REFUSE)
    return command, {**environment, "PYTHONPATH": str(folder)}
