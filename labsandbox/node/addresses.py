"""Which pod gets which address of the pod network.

One sandbox owns one x, held by its keeper for as long as pods may run, so two sandboxes of one
machine (two learners on one host) never give two pods the same address.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

from labsandbox import network
from labsandbox.network import pod_address

FIRST, LAST = 2, 254


def candidates(state: Path) -> list[int]:
    """Return the subnets to try, beginning with one derived from the state folder."""
    first = zlib.crc32(str(state).encode()) % count()
    return [(first + step) % count() for step in range(count())]


def count() -> int:
    """Return how many sandboxes can have pods on this machine at once."""
    return 256 if network.has_addresses() else network.SANDBOXES


def choose(subnet: int, taken: Iterable[str], hint: int = FIRST) -> str | None:
    """Return a free address, the search beginning at `hint`; None when all are taken."""
    used = set(taken)
    span = LAST - FIRST + 1 if network.has_addresses() else network.PODS
    for step in range(span):
        address = pod_address(subnet, FIRST + (hint - FIRST + step) % span)
        if address not in used:
            return address
    return None
