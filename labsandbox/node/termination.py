"""What a container leaves as its last words, with a kubelet's limits.

At most 4 KiB from the end of the file; or, where that is empty and the pod says so, the last
80 lines of the log, of these the last 2 KiB; and 12 KiB for all containers of a pod together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labsandbox import tree
from labsandbox.node import logs

LONGEST = 4096
FALLBACK = "FallbackToLogsOnError"
_LONGEST_OF_POD = 12 * 1024
_LINES, _LONGEST_OF_LINES = 80, 2048
_READ = 64 * 1024  # of a log: its 80 last lines, or their last 2 KiB with the lines' own beginnings


def share(spec: dict[str, Any]) -> int:
    """Return how many bytes each container of a pod may leave."""
    count = len(spec["containers"]) + len(spec.get("initContainers") or [])
    return _LONGEST_OF_POD // count


def last_lines(log: Path) -> bytes:
    """Return the last lines of a log as they were printed."""
    data = tree.read_end((str(log.parent), log.name), _READ) or b""
    if len(data) == _READ:
        data = data.partition(b"\n")[2]  # The first line is cut off.
    return logs.select(data, logs.LogOptions(tail=_LINES))[-_LONGEST_OF_LINES:]


def text(data: bytes, limit: int) -> str | None:
    """Return a message as the status shows it; None for an empty one."""
    return data[:limit].decode(errors="replace") or None
