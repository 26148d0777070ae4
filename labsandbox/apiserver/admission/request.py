"""A write as admission sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.status import StatusError, forbidden

if TYPE_CHECKING:
    from labsandbox.apiserver.auth.user import User
    from labsandbox.apiserver.registry import ResourceDef

Json = dict[str, Any]
CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"
OPTIONS = {
    CREATE: "CreateOptions",
    UPDATE: "UpdateOptions",
    DELETE: "DeleteOptions",
}


@dataclass
class Request:
    """Who wants to write what; plugins change `object` in place or replace it."""

    operation: str
    resource: ResourceDef
    namespace: str
    name: str
    object: Json | None
    old: Json | None
    user: User
    subresource: str = ""
    dry_run: bool = False
    options: Json | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def kind(self) -> tuple[str, str, str]:
        """Group, version and kind of the object, which a subresource may have of its own."""
        sub = self.resource.subresources.get(self.subresource)
        if sub is not None and sub.kind and sub.kind != self.resource.kind:
            version = sub.version or self.resource.version
            return (sub.group if sub.version else self.resource.group, version, sub.kind)
        return (self.resource.group, self.resource.version, self.resource.kind)

    @property
    def key(self) -> str:
        """`pods`, `pods/status`, `deployments.apps`: what plugins ask for."""
        plain = self.resource.group_resource
        return f"{plain}/{self.subresource}" if self.subresource else plain

    @property
    def shown_name(self) -> str:
        """The name for messages; what it will begin with when it is still to be generated."""
        metadata = (self.object or self.old or {}).get("metadata") or {}
        return self.name or metadata.get("name") or metadata.get("generateName") or ""

    def review_options(self) -> Json | None:
        """The options object of an AdmissionReview."""
        kind = OPTIONS.get(self.operation)
        if kind is None:
            return None
        found = {
            key: value
            for key, value in (self.options or {}).items()
            if value not in (None, "", [], {}) and key not in ("kind", "apiVersion")
        }
        return {"kind": kind, "apiVersion": "meta.k8s.io/v1", **found}

    def refuse(self, why: str) -> StatusError:
        """403 with a plugin's reason."""
        return forbidden(self.resource, self.shown_name, why)
