"""The input and the output of reconciling: what is observed, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labsandbox.client import Resource
from labsandbox.kubedirector.configmeta import Connected
from labsandbox.kubedirector.model import GlobalConfig, Object
from labsandbox.kubedirector.script import Answer


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a job, or how far it is."""

    kind: str  # setup, update, notify
    pod: str
    container: str
    answer: Answer
    version: int = 0  # the connection version an update was for
    arguments: tuple[str, ...] = ()  # what a notification was about
    overdue: float = 0  # seconds a start script runs already, when that is too long


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a reconcile pass looks at."""

    cluster: Object
    app: Object | None
    settings: GlobalConfig = field(default_factory=GlobalConfig)
    services: Mapping[str, Object] = field(default_factory=dict)
    stateful_sets: Mapping[str, Object] = field(default_factory=dict)
    pods: Mapping[str, Object] = field(default_factory=dict)
    connected: Connected = field(default_factory=Connected)
    connection_hash: str = ""
    missing: tuple[str, ...] = ()  # connected objects that do not exist, as "kind name"
    dependents: tuple[str, ...] = ()  # kdclusters of this namespace that connect to this one
    backup: Object | None = None
    reports: Mapping[str, Report] = field(default_factory=dict)  # by pod
    busy: frozenset[str] = frozenset()  # pods with a job under way
    token: str = ""  # a fresh one, in case a member needs it


@dataclass(frozen=True, slots=True)
class Note:
    """An event to record."""

    reason: str
    message: str
    warning: bool = False
    about: Object | None = None  # another object than the cluster


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object; one that is there already and owned by the cluster is as good."""

    resource: Resource
    obj: Object
    failure: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Change an object (merge patch)."""

    resource: Resource
    name: str
    patch: Object
    failure: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object; one that is gone is as good."""

    resource: Resource
    name: str
    failure: str


@dataclass(frozen=True, slots=True)
class Bump:
    """Count up another kdcluster's connUpdateCounter."""

    cluster: str


Action = Create | Patch | Delete | Bump


@dataclass(frozen=True, slots=True)
class Job:
    """Something to run in a member."""

    kind: str
    pod: str
    container: str
    role: str
    version: int = 0
    reconnect: bool = False
    persistent: bool = False
    attempt: str = ""
    arguments: tuple[str, ...] = ()


@dataclass(slots=True)
class Plan:
    """What to do, in this order: actions, metadata, status, jobs; notes on the way."""

    status: Object | None = None
    notes: list[Note] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    annotations: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str | None] = field(default_factory=dict)
    finalizer: bool | None = None
    is_gone: bool = False

    def note(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an event about the cluster."""
        self.notes.append(Note(reason, message, warning))
