"""What the server itself refuses, before the admission chain is asked."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, forbidden, not_found

Json = dict[str, Any]
_IMMORTAL = {"default", "kube-system", "kube-public"}
_REVIEWS = {"authorization.k8s.io", "authentication.k8s.io"}


def check_namespace(api: Api, resource: ResourceDef, namespace: str, name: str) -> None:
    """Nothing is created in a namespace that is missing or on its way out."""
    if not resource.namespaced or resource.group in _REVIEWS:
        return
    record = api.store.latest("namespaces", "", namespace)
    if record is None:
        raise not_found(api.resource("", "namespaces"), namespace)
    if b'"deletionTimestamp"' in record.body and record.load()["metadata"].get("deletionTimestamp"):
        error = forbidden(
            resource,
            name,
            f"unable to create new content in namespace {namespace} because it is being terminated",
        )
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        raise StatusError(error.code, error.reason, error.message, error.details, [cause])


def check_immortal(resource: ResourceDef, name: str) -> None:
    """The namespaces the system stands on cannot be deleted."""
    if resource.plural == "namespaces" and not resource.group and name in _IMMORTAL:
        raise forbidden(resource, name, "this namespace may not be deleted")
