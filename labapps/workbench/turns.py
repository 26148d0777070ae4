"""Whose run starts next: the training engine's rule, `labapps/queue/fair.py`, for runs.

WORKBENCH_RUNS is how many runs may be active at once; one user may have all but one of these
places. Two runs of one job are never active at once: the second waits.
"""

from __future__ import annotations

from labapps.queue import fair
from labapps.web.server import number
from labapps.workbench.store import Record

__all__ = ["Turns"]


class Turns:
    """Remembers who was served."""

    def __init__(self, places: int = 0) -> None:
        self.places = places or int(number("WORKBENCH_RUNS", 8))
        self.served: dict[str, int] = {}
        self.reason = (
            f"It waits for its turn: {self.places} runs are active at once (WORKBENCH_RUNS), one "
            "of a job, and one place is kept from whoever has all others."
        )

    def starting(self, live: list[Record]) -> set[str]:
        """Return the runs that may start now, of all that have not ended.

        >>> runs = [{"id": str(n), "job_id": str(n), "submitted": False, "stopping": False,
        ...          "creator": {"username": "ann" if n < 3 else "bob"}} for n in range(4)]
        >>> sorted(Turns(3).starting(runs))
        ['0', '1', '3']
        """
        active = [run for run in live if run["submitted"]]
        jobs = {run["job_id"] for run in active}
        waiting: list[Record] = []
        for run in live:
            if not run["submitted"] and not run["stopping"] and run["job_id"] not in jobs:
                jobs.add(run["job_id"])
                waiting.append(run)
        users = [_user(run) for run in active]
        limit = fair.user_limit(self.places)
        found: set[str] = set()
        while len(users) < self.places:
            queued = [(at, _user(run)) for at, run in enumerate(waiting) if run["id"] not in found]
            at = fair.choose(queued, users, self.served, limit)
            if at is None:
                break
            users.append(_user(waiting[at]))
            self.served[users[-1]] = max(self.served.values(), default=0) + 1
            found.add(waiting[at]["id"])
        return found


def _user(run: Record) -> str:
    return str(run["creator"]["username"])
