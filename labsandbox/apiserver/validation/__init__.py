"""Is an object allowed? Pure functions on decoded, defaulted and prepared objects.

`validate_create(resource, obj)`, `validate_update(resource, new, old, subresource="")` and
`validate_status_update(resource, new, old)` list `FieldError`s in the order of a real server; an
update repeats the checks of metadata as often as the real one does, because causes show it.

The order of a write: decode -> default -> track fields -> mutating admission -> prepare
(`labsandbox.apiserver.strategies`) -> validate. Everything here expects prepared objects: service
`clusterIPs` in step with `clusterIP`, generated job selectors, `stringData` moved to `data`.
"""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.validation.errors import FieldError
from labsandbox.apiserver.validation.meta import (
    path_name,
    validate_meta,
    validate_meta_update,
)

__all__ = ["FieldError", "validate_create", "validate_status_update", "validate_update"]

Json = dict[str, Any]
PLAIN_KINDS = ("Event",)


def _rule(resource: ResourceDef) -> Any:
    from labsandbox.apiserver.validation.rule import Rule
    from labsandbox.apiserver.validation.rules import RULES

    return RULES.get((resource.group, resource.kind), Rule())


def _is_definition(resource: ResourceDef) -> bool:
    return resource.group == "apiextensions.k8s.io"


def validate_before(resource: ResourceDef, obj: Json) -> list[FieldError]:
    """What is refused before the object is looked at as a whole."""
    if resource.group_resource != "services":
        return []
    from labsandbox.apiserver.validation.addresses import cluster_addresses

    return cluster_addresses(obj)


def validate_create(resource: ResourceDef, obj: Json) -> list[FieldError]:
    """What is wrong with a new object of a built-in kind."""
    found = _create(resource, obj)
    metadata = obj.get("metadata") or {}
    return found or validate_meta(metadata, resource.namespaced, path_name, core=False)


def validate_common_update(new: Json, old: Json, namespaced: bool) -> list[FieldError]:
    """What every update of any kind checks in metadata, before the kind checks its own."""
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    found = validate_meta(metadata, namespaced, path_name, core=False)
    return found + validate_meta_update(metadata, before, core=False)


def _create(resource: ResourceDef, obj: Json) -> list[FieldError]:
    metadata = obj.get("metadata") or {}
    if resource.kind == "Event":
        return _event(resource, obj)
    if resource.kind == "Pod":
        from labsandbox.apiserver.validation.pods import validate_pod_create

        return validate_pod_create(obj)
    if _is_definition(resource):
        from labsandbox.apiserver.crd.definition import validate_definition

        return validate_definition(obj)
    rule = _rule(resource)
    found: list[FieldError] = []
    if rule.meta:
        found += validate_meta(metadata, resource.namespaced, rule.name, rule.core)
    return found + (rule.create(obj) if rule.create is not None else [])


def _event(resource: ResourceDef, obj: Json) -> list[FieldError]:
    from labsandbox.apiserver.validation import occurrences
    from labsandbox.apiserver.validation.meta import subdomain_name

    found = occurrences.legacy(obj, is_core=resource.group == "")
    if resource.group == "":
        return found
    found += validate_meta(obj.get("metadata") or {}, True, subdomain_name)
    return found + occurrences.event(obj)


def validate_update(
    resource: ResourceDef, new: Json, old: Json, subresource: str = ""
) -> list[FieldError]:
    """What is wrong with a change of an object of a built-in kind."""
    if subresource == "status":
        return validate_status_update(resource, new, old)
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    found = validate_common_update(new, old, resource.namespaced)
    if resource.kind == "Pod":
        from labsandbox.apiserver.validation import pods

        if subresource == "ephemeralcontainers":
            return found + pods.validate_ephemeral_update(new, old)
        return found + pods.validate_pod_update(new, old)
    if resource.kind == "Event":
        return found + _event_update(resource, new, old)
    if _is_definition(resource):
        from labsandbox.apiserver.crd.definition import validate_definition_update

        return found + validate_definition_update(new, old)
    rule = _rule(resource)
    parts: dict[str, list[FieldError]] = {"compare": []}
    if "meta" in rule.order:
        parts["meta"] = validate_meta_update(metadata, before, rule.core)
    if "create" in rule.order or "spec" in rule.order:
        parts["spec"] = _repeat(resource, rule, new)
        own = validate_meta(metadata, resource.namespaced, rule.name, rule.core)
        parts["create"] = (own if rule.meta else []) + parts["spec"]
    if rule.update is not None:
        parts["compare"] = rule.update(new, old)
    for step in rule.order:
        found += parts[step]
    return found


def _repeat(resource: ResourceDef, rule: Any, new: Json) -> list[FieldError]:
    if resource.kind == "CronJob":
        from labsandbox.apiserver.validation.jobs import cron_job

        return cron_job(new, is_new=False)
    found: list[FieldError] = rule.create(new) if rule.create is not None else []
    return found


def _event_update(resource: ResourceDef, new: Json, old: Json) -> list[FieldError]:
    from labsandbox.apiserver.validation import occurrences

    found = occurrences.legacy(new, is_core=resource.group == "")
    if resource.group == "":
        return found
    found += validate_meta_update(new.get("metadata") or {}, old.get("metadata") or {})
    return found + occurrences.event_update(new, old)


def validate_status_update(resource: ResourceDef, new: Json, old: Json) -> list[FieldError]:
    """What is wrong with a change made through the status subresource."""
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    found = validate_common_update(new, old, resource.namespaced)
    if resource.kind == "Pod":
        from labsandbox.apiserver.validation.pods import validate_pod_status_update

        return found + validate_pod_status_update(new, old)
    rule = _rule(resource)
    if rule.status_meta:
        found += validate_meta_update(metadata, before, rule.core)
    return found + (rule.status(new, old) if rule.status is not None else [])
