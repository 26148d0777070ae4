"""Pod addresses: 10.244.x.y in the API, its loopback twin 127.244.x.y on this machine.

One sandbox owns one x, held by its keeper for as long as pods may run, so two sandboxes of one
machine (two learners on one host) never give two pods the same address.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

FIRST, LAST = 2, 254


def candidates(state: Path) -> list[int]:
    """Return the subnets to try, beginning with one derived from the state folder."""
    first = zlib.crc32(str(state).encode()) % 256
    return [(first + step) % 256 for step in range(256)]


def choose(subnet: int, taken: Iterable[str], hint: int = FIRST) -> str | None:
    """Return a free address, the search beginning at `hint`; None when all are taken."""
    used = set(taken)
    span = LAST - FIRST + 1
    for step in range(span):
        address = f"10.244.{subnet}.{FIRST + (hint - FIRST + step) % span}"
        if address not in used:
            return address
    return None


def twin(address: str) -> str:
    """Return the loopback address that stands for a pod's address."""
    return "127." + address.partition(".")[2] if address.startswith("10.244.") else address
