"""What `labsandbox up` decides, and what follows from it for the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

from labsandbox.catalogue import OURS, Catalogue

# What the manifests of all labs together ask for.
_CORES, _GIBIBYTES = 2, 4


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
        """Return what the node promises when it is more than the machine has; else nothing.

        # differs: a kubelet offers what the machine has. What labs ask for is what they may need
        # at their worst, in turns; a class that was refused half of its notebooks by arithmetic
        # would have used a fifth of the memory.

        >>> Options(students=1).overbooking()
        {}
        >>> Options(students=0, seats=1000).overbooking()
        {'cpu': '2000', 'memory': '4000Gi'}
        """
        seats = self.learners
        if seats <= 1:
            return {}
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
        return {
            "cpu": str(max(len(os.sched_getaffinity(0)), _CORES * seats)),
            "memory": f"{max(memory, _GIBIBYTES * seats)}Gi",
        }
