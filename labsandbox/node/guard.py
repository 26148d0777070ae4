"""Remember on disk what was being tried, so that what ends the agent is not tried for ever.

A pod that ends the agent whenever it is prepared (out of memory, a bug of ours) would end the next
agent as well, and the platform would never come up again. An attempt that was not finished counts;
after a few the container is left alone, with a sentence, and everything else runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labsandbox.node.environment import ConfigError

MOST_ATTEMPTS = 3


@contextmanager
def attempt(path: Path) -> Iterator[None]:
    """Count an attempt while it lasts; raise ConfigError when too many were never finished."""
    count = _read(path)
    if count >= MOST_ATTEMPTS:
        raise ConfigError(
            f"the node agent ended {count} times while it prepared this container, so it is not "
            "tried again; delete the pod, and make its environment and volumes smaller"
        )
    path.write_text(str(count + 1))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _read(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
