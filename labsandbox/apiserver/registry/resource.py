"""One resource of the API: its names, scope, verbs, subresources and the traits of its kind."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

STANDARD_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True)
class Subresource:
    """A path below an object (`status`, `scale`, `log`…) and the kind it answers with."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True)
class Strategy:
    """What is special about a kind when its objects are written.

    `generation`: spec changes count up metadata.generation.
    `returns_object`: a delete answers with the object instead of a Status.
    `graceful`: a delete sets deletionTimestamp first (pods with a node).
    `status`: the kind has a status that the main path may not write.
    `update_creates`: PUT on a name that does not exist creates it.
    `unconditional_update`: PUT without resourceVersion is allowed.
    """

    generation: bool = False
    returns_object: bool = False
    graceful: bool = False
    status: bool = False
    update_creates: bool = False
    unconditional_update: bool = True


@dataclass(frozen=True)
class ResourceDef:
    """A resource as clients see it: `group/version/plural` serving objects of `kind`."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = STANDARD_VERBS
    subresources: dict[str, Subresource] = field(default_factory=dict, hash=False)
    strategy: Strategy = Strategy()
    storage: tuple[str, str, str] | None = None
    """group, version and kind the object is stored as, when another one than this row's."""
    storage_hash: str | None = None
    list_kind: str = ""
    custom: Any = field(default=None, hash=False, compare=False)
    """The `crd.CustomKind` behind a custom resource; None for built-in kinds."""

    @cached_property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def group_resource(self) -> str:
        """`deployments.apps`, as messages spell it; `pods` in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def group_kind(self) -> str:
        """`Deployment.apps`, as `Invalid` messages spell it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @cached_property
    def kind_of_list(self) -> str:
        return self.list_kind or f"{self.kind}List"

    @cached_property
    def bucket(self) -> str:
        """Where the store keeps the objects: the same for all versions that share them."""
        if self.storage is not None and self.custom is None:
            return f"{self.plural}.{self.storage[0]}" if self.storage[0] else self.plural
        return self.group_resource

    @property
    def own_group(self) -> str:
        """The group of the kind behind this row: events are core events in every group."""
        return self.group if self.storage is None else self.storage[0]

    @cached_property
    def registry_key(self) -> str:
        """The prefix of etcd keys, which a few error messages show."""
        if self.custom is not None:
            return f"/registry/{self.group}/{self.plural}"
        return f"/registry/{REGISTRY_PREFIXES.get(self.plural, self.plural)}"

    @cached_property
    def storage_version_hash(self) -> str:
        if self.storage_hash is not None:
            return self.storage_hash
        group, version, kind = self.storage or (self.group, self.version, self.kind)
        return b64encode(sha256(f"{group}/{version}/{kind}".encode()).digest()[:8]).decode()


REGISTRY_PREFIXES = {
    "services": "services/specs",
    "endpoints": "services/endpoints",
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "ingresses": "ingress",
}
