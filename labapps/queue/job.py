"""A job: what was asked for, how far it is, and what one job and one user may have."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "CANCELLED",
    "FAILED",
    "FINAL",
    "FINISHED",
    "QUEUED",
    "RUNNING",
    "TIMED_OUT",
    "Job",
    "Limits",
    "parse_memory",
]

QUEUED, RUNNING = "Queued", "Running"
FINISHED, FAILED, CANCELLED, TIMED_OUT = "Finished", "Failed", "Cancelled", "TimedOut"
FINAL = frozenset({FINISHED, FAILED, CANCELLED, TIMED_OUT})
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


@dataclass(frozen=True)
class Limits:
    """What one job and one user may have."""

    seconds: float = 3600.0
    memory: int = 4 << 30
    default_memory: int = 1 << 30
    cpu: float = 4.0
    user_running: int = 0  # 0: one less than there are slots
    user_queued: int = 300
    code: int = 1 << 20

    @classmethod
    def from_env(cls, prefix: str, env: Mapping[str, str] = os.environ) -> Limits:
        """Read the limits; each is a variable that begins with the application's prefix.

        >>> Limits.from_env("TRAINING_", {"TRAINING_MAX_MEMORY": "2Gi"}).memory
        2147483648
        """
        return cls(
            float(env.get(f"{prefix}MAX_SECONDS", 3600)),
            parse_memory(env.get(f"{prefix}MAX_MEMORY", "4Gi")),
            parse_memory(env.get(f"{prefix}DEFAULT_MEMORY", "1Gi")),
            float(env.get(f"{prefix}MAX_CPU", 4)),
            int(env.get(f"{prefix}USER_RUNNING", 0)),
            int(env.get(f"{prefix}USER_QUEUED", 300)),
        )


@dataclass
class Job:
    """A submitted job. Times are seconds since the epoch."""

    id: int
    user: str
    name: str
    memory: int
    cpu: float
    seconds: float
    env: dict[str, str]
    args: list[str]
    rerun: bool
    status: str
    submitted: float
    reason: str = ""
    worker: str = ""
    incarnation: str = ""
    started: float = 0.0
    finished: float = 0.0
    attempts: int = 0
    exit_code: int | None = None
    usage: dict[str, float] = field(default_factory=dict)
    cancel: bool = False
    code_digest: str = ""  # sha256 of the program, as it was submitted

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


def parse_memory(text: str | float) -> int:
    """Read a Kubernetes quantity of bytes.

    >>> parse_memory("512Mi")
    536870912
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(k|M|G|Ki|Mi|Gi)?", str(text))
    if found is None:
        raise ValueError(f"expected bytes such as 512Mi or 2Gi; found {text!r}")
    return int(float(found[1]) * UNITS[found[2] or ""])
