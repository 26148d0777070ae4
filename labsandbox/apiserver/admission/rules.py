"""Which requests a webhook or a policy wants to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.request import Request
from labsandbox.apiserver.admission.selector import selects

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api
    from labsandbox.apiserver.registry import ResourceDef

Json = dict[str, Any]
EXEMPT = frozenset(
    (
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    )
)
GROUP = "admissionregistration.k8s.io"


def is_exempt(request: Request) -> bool:
    """Configuration of admission itself is never sent through it, or nobody could repair it."""
    return request.resource.group == GROUP and request.resource.plural in EXEMPT


def find_version(
    rules: list[Json], request: Request, api: Api, *, is_exact: bool
) -> ResourceDef | None:
    """The version of the resource that the rules name: the request's own, or an equivalent one."""
    resource = request.resource
    if any(_matches(rule, request, resource.group, resource.version) for rule in rules):
        return resource
    if is_exact:
        return None
    for other in api.catalog:
        if other.group != resource.group or other.plural != resource.plural:
            continue
        if any(_matches(rule, request, other.group, other.version) for rule in rules):
            return other
    return None


def _matches(rule: Json, request: Request, group: str, version: str) -> bool:
    return (
        _has(rule.get("apiGroups"), group)
        and _has(rule.get("apiVersions"), version)
        and _has(rule.get("operations"), request.operation)
        and _in_scope(rule, request)
        and any(_is_resource(name, request) for name in rule.get("resources") or ())
        and (not rule.get("resourceNames") or request.name in rule["resourceNames"])
    )


def _has(values: list[str] | None, wanted: str) -> bool:
    return any(value in ("*", wanted) for value in values or ())


def _in_scope(rule: Json, request: Request) -> bool:
    scope = rule.get("scope") or "*"
    is_namespaced = request.resource.namespaced
    return scope == "*" or (scope == "Namespaced") == is_namespaced


def _is_resource(name: str, request: Request) -> bool:
    plural, _, subresource = name.partition("/")
    if plural not in ("*", request.resource.plural):
        return False
    if name == "*/*" or subresource == "*":
        return True
    return subresource == request.subresource


def is_selected(hook: Json, request: Request, stock: Collections) -> bool:
    """Tell whether namespaceSelector and objectSelector choose the request."""
    return _namespace_selected(hook.get("namespaceSelector"), request, stock) and _object_selected(
        hook.get("objectSelector"), request
    )


def _namespace_selected(selector: Json | None, request: Request, stock: Collections) -> bool:
    if not selector:
        return True
    if request.resource.plural == "namespaces" and not request.resource.group:
        if request.subresource:
            return selects(selector, stock.namespace_labels(request.name))
        return selects(selector, _labels(request.object or request.old))
    if not request.resource.namespaced:
        return True
    return selects(selector, stock.namespace_labels(request.namespace))


def _object_selected(selector: Json | None, request: Request) -> bool:
    if not selector:
        return True
    return any(
        obj is not None and selects(selector, _labels(obj)) for obj in (request.object, request.old)
    )


def _labels(obj: Json | None) -> dict[str, str]:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}
