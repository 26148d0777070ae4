"""The pod network: addresses 10.244.x.y in the API, 127.244.x.y on this machine.

Pods here are processes of one machine. Linux lets anybody listen on the whole of 127.0.0.0/8, so a
pod whose address is 10.244.3.7 listens on 127.244.3.7, and whoever connects to it translates.

Where the machine has 127.0.0.1 alone, as macOS has, pods get ports instead: a pod has `SPAN` of
them from a first one on, and its port P is `first + P % SPAN` of 127.0.0.1. Ports from `LOOSE` on,
which the kernel chooses, are one machine's anyway and stay what they are.
"""

from __future__ import annotations

import functools
import socket

POD_NETWORK = "10.244.0.0/16"
_PODS, _LOOPBACK, _ONLY = "10.244.", "127.244.", "127.0.0.1"
LOOSE = 32768
SPAN = 157  # a prime: the ports of all applications of the catalogue differ in it
PODS = 40  # of one sandbox
SANDBOXES = 2
_FIRST = 20_000  # above the gateway's ports


def pod_address(subnet: int, host: int) -> str:
    """Return the address of a pod as the API shows it."""
    return f"{_PODS}{subnet}.{host}"


@functools.cache
def has_addresses() -> bool:
    """Tell whether pods can listen on addresses of their own on this machine."""
    with socket.socket() as probe:
        try:
            probe.bind((_LOOPBACK + "0.1", 0))
        except OSError:
            return False
    return True


def loopback(address: str) -> str:
    """Return where a pod of this machine listens; any other address as it is.

    >>> loopback("10.244.3.7"), loopback("10.42.3.7"), loopback("192.168.1.5")
    ('127.244.3.7', '10.42.3.7', '192.168.1.5')
    """
    if not address.startswith(_PODS):
        return address
    return _LOOPBACK + address.removeprefix(_PODS) if has_addresses() else _ONLY


def first_port(address: str) -> int | None:
    """Return the first port of a pod that has ports instead of an address; None for others."""
    if has_addresses() or not address.startswith(_PODS):
        return None
    subnet, host = map(int, address.removeprefix(_PODS).split("."))
    return _FIRST + SPAN * (subnet * PODS + host - 2)


def shift(port: int, first: int | None) -> int:
    """Return which port of this machine a pod's port is.

    >>> shift(8000, None), shift(8000, 20_157), shift(40_000, 20_157), shift(0, 20_157)
    (8000, 20307, 40000, 0)
    """
    return port if first is None or not 0 < port < LOOSE else first + port % SPAN


def reach(address: str, port: int) -> tuple[str, int]:
    """Return the address and the port of this machine where a pod's port is."""
    return loopback(address), shift(port, first_port(address))
