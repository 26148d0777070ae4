"""Amounts of resources: names, quantities, requests against limits."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.meta import NOT_NEGATIVE
from labsandbox.quantity import Quantity, parse

Json = dict[str, Any]
STANDARD_CONTAINER = frozenset(("cpu", "memory", "ephemeral-storage"))
STANDARD = frozenset(
    (
        "cpu",
        "memory",
        "ephemeral-storage",
        "storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "requests.storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    )
)
INTEGER = frozenset(
    (
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    )
)
STANDARD_QUOTA = STANDARD - {"storage"}
NOT_INTEGER = "must be an integer"


def is_native(name: str) -> bool:
    return "/" not in name or name.split("/")[0].endswith("kubernetes.io")


def is_hugepage(name: str) -> bool:
    return name.startswith("hugepages-")


def is_extended(name: str) -> bool:
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")


def is_overcommit_allowed(name: str) -> bool:
    return is_native(name) and not is_hugepage(name)


def amount(field: str, value: Quantity) -> list[FieldError]:
    """A quantity that may not be negative."""
    return [invalid(field, str(value), NOT_NEGATIVE)] if value.nano < 0 else []


def amount_of(name: str, text: str, field: str) -> list[FieldError]:
    """The value of a named resource."""
    value = parse(text)
    found = amount(field, value)
    whole = name in INTEGER or is_extended(name)
    if whole and not value.is_integer:
        found.append(invalid(field, str(value), NOT_INTEGER))
    return found


def resource_name(name: str, field: str) -> list[FieldError]:
    shown = Raw(name)  # the name of a resource is a type of its own, printed without quotes
    found = [invalid(field, shown, message) for message in names.qualified_name(name)]
    if not found and "/" not in name and name not in STANDARD and not is_hugepage(name):
        found.append(invalid(field, shown, "must be a standard resource type or fully qualified"))
    return found


def container_resource_name(name: str, field: str) -> list[FieldError]:
    found = resource_name(name, field)
    if "/" not in name:
        if name not in STANDARD_CONTAINER and not is_hugepage(name):
            detail = "must be a standard resource for containers"
            found.append(invalid(field, Raw(name), detail))
    elif not is_native(name) and not is_extended(name):
        found.append(invalid(field, Raw(name), "doesn't follow extended resource name standard"))
    return found


def quota_resource_name(name: str, field: str) -> list[FieldError]:
    found = resource_name(name, field)
    plain = name.removeprefix("requests.")
    if "/" not in name and name not in STANDARD_QUOTA and not is_hugepage(plain):
        found.append(invalid(field, Raw(name), "must be a standard resource for quota"))
    return found


def requirements(resources: Json, field: str) -> list[FieldError]:
    """limits and requests of a container."""
    found: list[FieldError] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, text in limits.items():
        path = f"{field}.limits[{name}]"
        found += container_resource_name(name, path)
        found += amount_of(name, text, path)
    for name, text in requests.items():
        path = f"{field}.requests[{name}]"
        found += container_resource_name(name, path)
        found += amount_of(name, text, path)
        if name in limits:
            want, most = parse(text), parse(limits[name])
            if want.nano != most.nano and not is_overcommit_allowed(name):
                detail = f"must be equal to {name} limit of {most}"
                found.append(invalid(f"{field}.requests", str(want), detail))
            elif want.nano > most.nano:
                detail = f"must be less than or equal to {name} limit of {most}"
                found.append(invalid(f"{field}.requests", str(want), detail))
        elif not is_overcommit_allowed(name):
            detail = "Limit must be set for non overcommitable resources"
            found.append(required(f"{field}.limits", detail))
    huge = any(is_hugepage(name) for name in (*limits, *requests))
    if huge and not {"cpu", "memory"} & {*limits, *requests}:
        found.append(forbidden(field, "HugePages require cpu or memory"))
    return found


def one_of(field: str, value: str, allowed: tuple[str, ...]) -> list[FieldError]:
    """A member of an enumeration that must be set."""
    if not value:
        return [required(field)]
    return [] if value in allowed else [not_supported(field, value, allowed)]
