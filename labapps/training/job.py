"""A job, and what may be asked for one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labapps.asgi import Problem

__all__ = ["FINAL", "Job", "Limits", "parse_memory", "read_submission"]

QUEUED, RUNNING = "Queued", "Running"
FINISHED, FAILED, CANCELLED, TIMED_OUT = "Finished", "Failed", "Cancelled", "TimedOut"
FINAL = frozenset({FINISHED, FAILED, CANCELLED, TIMED_OUT})
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
KEYS = {"code", "name", "user", "resources", "env", "args", "rerun"}
EXAMPLE = {
    "code": "print('hello')",
    "name": "smoke",
    "user": "student1",
    "resources": {"memory": "512Mi", "cpu": 1, "seconds": 600},
    "env": {"SEED": "0"},
    "rerun": False,
}


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
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Limits:
        """Read the limits; each is a variable TRAINING_…."""
        return cls(
            float(env.get("TRAINING_MAX_SECONDS", 3600)),
            parse_memory(env.get("TRAINING_MAX_MEMORY", "4Gi")),
            parse_memory(env.get("TRAINING_DEFAULT_MEMORY", "1Gi")),
            float(env.get("TRAINING_MAX_CPU", 4)),
            int(env.get("TRAINING_USER_RUNNING", 0)),
            int(env.get("TRAINING_USER_QUEUED", 300)),
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


def read_submission(document: Mapping[str, Any], limits: Limits, user: str) -> dict[str, Any]:
    """Check a submission; return the fields of its job. A Problem says what was expected."""
    unknown = sorted(set(document) - KEYS)
    if unknown:
        raise _problem(f"Unknown keys: {', '.join(unknown)}.", f"some of {', '.join(sorted(KEYS))}")
    code = document.get("code")
    if not isinstance(code, str) or not code.strip():
        raise _problem("The key code holds no text.", "the source of a Python program")
    if len(code.encode()) > limits.code:
        raise Problem(413, f"The code is longer than {limits.code} bytes.", expected="less code")
    resources = document.get("resources") or {}
    if not isinstance(resources, dict) or set(resources) - {"memory", "cpu", "seconds"}:
        raise _problem("resources is not understood.", {"memory": "512Mi", "cpu": 1, "seconds": 60})
    try:
        memory = parse_memory(resources.get("memory", limits.default_memory))
        cpu = float(resources.get("cpu", 1))
        seconds = float(resources.get("seconds", limits.seconds))
    except (TypeError, ValueError) as error:
        raise _problem(f"resources: {error}.", EXAMPLE["resources"]) from error
    for what, value, most in (
        ("memory", memory, limits.memory),
        ("cpu", cpu, limits.cpu),
        ("seconds", seconds, limits.seconds),
    ):
        if not 0 < value <= most:
            raise _problem(f"resources: {what} is {value:g}.", f"more than 0, at most {most:g}")
    env, args = document.get("env") or {}, document.get("args") or []
    if not isinstance(env, dict) or not all(isinstance(v, str | int | float) for v in env.values()):
        raise _problem("env is not an object of texts.", {"SEED": "0"})
    if not isinstance(args, list):
        raise _problem("args is not a list.", ["--depth", "2"])
    rerun = document.get("rerun", False)
    if not isinstance(rerun, bool):
        raise _problem("rerun is neither true nor false.", "true: start again if a worker is lost")
    return {
        "user": user or str(document.get("user") or "anonymous")[:100],
        "name": str(document.get("name") or "job")[:100],
        "code": code,
        "memory": memory,
        "cpu": cpu,
        "seconds": seconds,
        "env": {str(k): str(v) for k, v in env.items()},
        "args": [str(a) for a in args],
        "rerun": rerun,
    }


def _problem(text: str, expected: Any) -> Problem:
    return Problem(422, f"The job was not accepted. {text}", expected=expected, example=EXAMPLE)
