"""What the parts of a node see of each other: its agent, its pods, their containers.

The agent makes pods and pods make containers, so imports lead from the agent down. What a part
needs of the one that made it is named here.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from labsandbox.client import Client
from labsandbox.node.events import Recorder
from labsandbox.node.images import Images
from labsandbox.node.launch import ContainerFolder, Surroundings
from labsandbox.node.objects import Objects
from labsandbox.node.records import PodRecord, Record
from labsandbox.node.settings import NodeSettings
from labsandbox.node.supervisor import Supervisor
from labsandbox.node.tokens import Tokens
from labsandbox.node.volumes import Mount
from labsandbox.tree import Route

Object = dict[str, Any]


class Node(Protocol):
    """The agent, as its pods and those who look after all pods see it."""

    client: Client
    state: Path
    name: str
    pods_folder: Path
    images: Images
    events: Recorder
    objects: Objects
    tokens: Tokens
    supervisor: Supervisor
    surroundings: Surroundings
    allowed_host_paths: list[Path]
    settings: NodeSettings
    capacity: dict[str, str]
    has_view: bool

    @property
    def workers(self) -> Mapping[str, Pod]:
        """Return the pods by uid."""

    def forget(self, worker: Pod) -> None:
        """Drop a pod that is gone."""

    def new_address(self) -> str:
        """Return an address that no pod has."""

    def probe_tls(self) -> ssl.SSLContext:
        """Return the TLS context probes use."""


class Pod(Protocol):
    """A pod, as its containers and volumes see it."""

    pod: Object
    uid: str
    folder: Path
    record: PodRecord
    sources: dict[str, tuple[Route, bool]]
    shm: str | None

    @property
    def agent(self) -> Node:
        """Return the node's agent."""

    @property
    def runners(self) -> Mapping[str, Container]:
        """Return the containers by name."""

    @property
    def is_leaving(self) -> bool:
        """Say whether the pod's object is being deleted, or gone."""

    @property
    def listen_address(self) -> str:
        """Return the address the pod's programs listen on."""

    def repository(self) -> Path:
        """Return the project repository of the pod's tenant."""

    def pod_with_address(self) -> Object:
        """Return the pod as the downward API sees it."""

    def event(self, kind: str, reason: str, message: str, container: str | None = None) -> None:
        """Record an event about the pod or one of its containers."""

    def save(self) -> None:
        """Remember the containers on disk."""

    def changed(self) -> None:
        """Save and report a new state of some container."""

    async def wait_for_config(self, seconds: float) -> None:
        """Return when something the pod refers to may have changed, or after some seconds."""

    async def rest(self, seconds: float) -> None:
        """Return after some seconds, or soon when the pod is to go."""

    async def rest_unless_forced(self, seconds: float) -> None:
        """Return after some seconds, or at once when the object is gone."""

    def evict(self, message: str) -> None:
        """End the pod's containers at once and for good."""


class Container(Protocol):
    """A container, as its probes, commands, measures and the node's server see it."""

    name: str
    spec: Object
    record: Record
    place: ContainerFolder
    mounts: list[Mount]

    @property
    def pod(self) -> Pod:
        """Return the container's pod."""

    @property
    def identifier(self) -> str:
        """Return the mark of the current run."""

    def spec_for(self, identifier: str, argv: list[str], cwd: Route) -> Object:
        """Return what the keeper is to start beside the container."""

    async def stop(self, grace: float, why: str | None = None) -> None:
        """End the container."""
