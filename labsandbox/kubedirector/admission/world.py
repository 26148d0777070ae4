"""What a judgement needs to know of the rest of the platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labsandbox.kubedirector.model import GlobalConfig, Object


@dataclass(frozen=True, slots=True)
class World:
    """Facts gathered for one request; what is not listed does not exist."""

    settings: GlobalConfig = field(default_factory=GlobalConfig)
    system_namespace: str = "kubedirector"
    kubernetes: tuple[int, int] = (1, 32)
    app: Object | None = None
    app_users: list[str] = field(default_factory=list)  # "namespace/name" of kdclusters
    any_clusters: bool = False
    secrets: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    storage_classes: frozenset[str] = frozenset()
    default_storage_class: str | None = None
    claims: Mapping[str, Object] = field(default_factory=dict)
    denied: frozenset[tuple[str, str]] = frozenset()  # (resource, name) the user may not get
    unreachable: Mapping[str, str] = field(default_factory=dict)  # URL: why
    owner: Object | None = None  # the kdcluster a claim belongs to
