"""The parts of the server that requests meet, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.registry import Catalog, ResourceDef
from labsandbox.apiserver.status import not_found
from labsandbox.apiserver.verbs.objects import full_object

if TYPE_CHECKING:
    from pathlib import Path

    from labsandbox.apiserver.auth.authentication import Authenticator
    from labsandbox.apiserver.auth.rbac import Rbac
    from labsandbox.apiserver.auth.token import Tokens
    from labsandbox.apiserver.services.allocation import Allocator
    from labsandbox.apiserver.store import Store
    from labsandbox.apiserver.watch.hub import Hub

Json = dict[str, Any]


@dataclass
class Api:
    """Everything a verb may use. `get` and `list` are the in-process way to read objects."""

    store: Store
    catalog: Catalog
    hub: Hub
    rbac: Rbac
    tokens: Tokens
    authenticator: Authenticator
    allocator: Allocator
    state: Path
    url: str = ""
    webhook_calls: int = 1
    admission: Any = None
    cache: dict[str, Any] = field(default_factory=dict)

    def resource(self, group: str, plural: str) -> ResourceDef:
        """The resource in its first served version; a KeyError when it is not served."""
        found = self.catalog.find_resource(group, plural)
        if found is None:
            raise KeyError(f"{plural}.{group}")
        return found

    def find(self, group: str, plural: str, name: str, namespace: str = "") -> Json | None:
        """An object, or None."""
        resource = self.resource(group, plural)
        record = self.store.get(resource.bucket, namespace, name)
        return full_object(resource, record) if record is not None else None

    def get(self, group: str, plural: str, name: str, namespace: str = "") -> Json:
        """An object, or the 404 a client would see."""
        found = self.find(group, plural, name, namespace)
        if found is None:
            raise not_found(self.resource(group, plural), name)
        return found

    def list(self, group: str, plural: str, namespace: str | None = None) -> list[Json]:
        """All objects of a resource, in one namespace or in all."""
        resource = self.resource(group, plural)
        records = self.store.bucket(resource.bucket).ordered(namespace)
        return [full_object(resource, record) for record in records]
