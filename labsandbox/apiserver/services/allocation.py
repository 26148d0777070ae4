"""Cluster IPs and node ports: chosen when a service is written, free again when it is gone."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.store import Store

Json = dict[str, Any]


class Allocator:
    """Knows which addresses and ports are taken."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def prepare(self, resource: ResourceDef, obj: Json, old: Json | None) -> None:
        """Give a service what it needs and does not have."""

    def claim(self, resource: ResourceDef, obj: Json) -> None:
        """Remember what a service that is about to be stored holds."""
