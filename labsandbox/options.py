"""What `labsandbox up` decides, and what follows from it for the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

from labsandbox.catalogue import OURS, Catalogue

# More than the applications of all workshops together ask for when one learner goes through them:
# 2.05 processors and 6.4 GiB were the most in a replay, looked at every four seconds.
_CORES, _GIBIBYTES = 3, 8


@dataclass(frozen=True)
class Options:
    """What `labsandbox up` decides."""

    students: int = 1
    seats: int = 1
    session_seconds: float = 1440 * 60
    host: str = "127.0.0.1"
    catalogue: Catalogue = OURS
    has_directory: bool = False

    @property
    def learners(self) -> int:
        """Return for how many learners at the same time there is room."""
        return max(self.students, self.seats)

    def overbooking(self) -> dict[str, str]:
        """Return what the node promises beyond what the machine has.

        # differs: a kubelet offers what the machine has. What labs ask for is what they may need
        # at their worst, in turns; who was refused half of a class's notebooks, or the last
        # workshop on two processors, by arithmetic, would have used a fifth of the memory.

        >>> Options(students=0, seats=1000).overbooking()
        {'cpu': '3000', 'memory': '8000Gi'}
        """
        cores, gibibytes = _CORES * self.learners, _GIBIBYTES * self.learners
        promised = {}
        if cores > len(os.sched_getaffinity(0)):
            promised["cpu"] = str(cores)
        if gibibytes << 30 > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            promised["memory"] = f"{gibibytes}Gi"
        return promised
