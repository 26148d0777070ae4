"""Reads configuration objects (quotas, webhooks, policies) decoded once per change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

Json = dict[str, Any]


class Collections:
    """Objects of a resource, decoded when they change; nobody may modify them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[tuple[str, str | None], tuple[tuple[int, ...], list[Json]]] = {}

    def list(self, group: str, plural: str, namespace: str | None = None) -> list[Json]:
        """All objects by name, in one namespace or in all."""
        bucket = f"{plural}.{group}" if group else plural
        records = self._api.store.bucket(bucket).ordered(namespace)
        if not records:
            return []
        key, revisions = (bucket, namespace), tuple(record.revision for record in records)
        known = self._known.get(key)
        if known is None or known[0] != revisions:
            known = (revisions, [record.load() for record in records])
            self._known[key] = known
        return known[1]

    def find(self, group: str, plural: str, name: str, namespace: str = "") -> Json | None:
        """One object, or None."""
        bucket = f"{plural}.{group}" if group else plural
        record = self._api.store.get(bucket, namespace, name)
        return record.load() if record is not None else None

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        """The labels of a namespace; none when it does not exist."""
        record = self._api.store.get("namespaces", "", namespace)
        return record.labels if record is not None else {}
