"""What the agent remembers about a pod's containers, kept in the pod's folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labsandbox import files

WAITING, RUNNING, TERMINATED = "waiting", "running", "terminated"


@dataclass
class Ending:
    """How one run of a container ended."""

    code: int
    reason: str
    started: float
    finished: float
    signal: int | None = None
    message: str | None = None
    attempt: int = 0


@dataclass
class Record:
    """One container of a pod: what it does now and what it did before."""

    name: str
    kind: str = "container"  # or "init"
    state: str = WAITING
    reason: str = "ContainerCreating"
    message: str | None = None
    attempt: int = -1
    restarts: int = 0
    pid: int = 0
    start: int = 0
    started_at: float = 0
    image: str = ""
    is_ready: bool = False
    is_started: bool = False
    is_oom: bool = False
    ending: Ending | None = None
    last: Ending | None = None
    backoff: float = 0

    def identifier(self, uid: str, attempt: int | None = None) -> str:
        """Return the mark the container's processes carry."""
        return f"{uid}/{self.name}/{self.attempt if attempt is None else attempt}"

    @property
    def first(self) -> tuple[int, int]:
        """Return the id and the start of the first process: an id alone may be another's by now."""
        return self.pid, self.start

    def wait(self, reason: str, message: str | None = None) -> None:
        """Be waiting for this reason."""
        if self.ending is not None:
            self.last, self.ending = self.ending, None
        self.state, self.reason, self.message = WAITING, reason, message
        self.is_ready = self.is_started = False

    def run(self, pid: int, start: int, now: float) -> None:
        """Be running as this process."""
        if self.ending is not None:
            self.last, self.ending = self.ending, None
        self.state, self.reason, self.message = RUNNING, "", None
        self.pid, self.start, self.started_at = pid, start, now
        self.is_oom = False

    def end(self, ending: Ending) -> None:
        """Have ended like this."""
        self.state, self.ending, self.pid, self.start = TERMINATED, ending, 0, 0
        self.is_ready = self.is_started = False


@dataclass
class PodRecord:
    """One pod: its address and its containers."""

    uid: str
    namespace: str
    name: str
    address: str = ""
    started_at: float = 0
    containers: dict[str, Record] = field(default_factory=dict)
    phase: str = ""  # set once the pod has ended for good
    reason: str | None = None
    message: str | None = None

    def save(self, folder: Path) -> None:
        """Write the record so that it is either the old or the new one."""
        files.replace(folder / "pod.json", json.dumps(asdict(self)))


def load(folder: Path) -> PodRecord | None:
    """Read a pod's record; None when there is none or it is damaged."""
    try:
        data: dict[str, Any] = json.loads((folder / "pod.json").read_bytes())
    except (OSError, ValueError):
        return None
    containers = {}
    for name, entry in data.pop("containers").items():
        for key in ("ending", "last"):
            entry[key] = Ending(**entry[key]) if entry[key] else None
        containers[name] = Record(**entry)
    return PodRecord(**data, containers=containers)


def container_id(identifier: str) -> str:
    """Return the container ID the status shows."""
    return "labsandbox://" + hashlib.sha256(identifier.encode()).hexdigest()
