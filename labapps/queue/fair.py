"""Whose job is next: a pure function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["choose", "user_limit"]


def user_limit(slots: int, configured: int = 0) -> int:
    """Return how many jobs of one user may run at once.

    One slot stays out of reach of everybody who has all the others.

    >>> [user_limit(slots) for slots in (1, 2, 4)]
    [1, 1, 3]
    """
    return configured or max(1, slots - 1)


def choose(
    queued: Iterable[tuple[int, str]],
    running: Iterable[str],
    served: Mapping[str, int],
    limit: int,
) -> int | None:
    """Return the job to start: of the user with fewest running, then longest not served.

    `queued` are (job, user) in order of submission; `served` is when each user's last job
    started, as a growing number.

    >>> choose([(1, "ann"), (2, "ann"), (3, "bob")], ["ann"], {"ann": 1}, limit=2)
    3
    >>> choose([(2, "ann")], ["ann"], {}, limit=1) is None
    True
    """
    busy = Counter(running)
    best: tuple[int, int, int] | None = None
    seen: set[str] = set()
    for job, user in queued:
        if user in seen or busy[user] >= limit:
            continue
        seen.add(user)
        rank = (busy[user], served.get(user, 0), job)
        if best is None or rank < best:
            best = rank
    return best[2] if best else None
