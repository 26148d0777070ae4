"""References from a container to fields of its pod and to resources."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import FieldError, invalid, not_supported, required
from labsandbox.apiserver.validation.meta import check_all
from labsandbox.apiserver.validation.sources import local_path, mode

Json = dict[str, Any]
ENV_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_PATHS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
DIVISORS = {
    "cpu": ("1m", "1"),
    "memory": ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"),
}


def field_ref(ref: Json, allowed: tuple[str, ...], path: str) -> list[FieldError]:
    """An ObjectFieldSelector."""
    if not ref.get("apiVersion"):
        return [required(f"{path}.apiVersion")]
    where = ref.get("fieldPath", "")
    if not where:
        return [required(f"{path}.fieldPath")]
    base, _, subscript = where.partition("['")
    if subscript and where.endswith("']"):
        subscript = subscript[:-2]
        if base == "metadata.annotations":
            return check_all(path, subscript, names.qualified_name(subscript.lower()))
        if base == "metadata.labels":
            return check_all(path, subscript, names.qualified_name(subscript))
        return [invalid(path, base, "does not support subscript")]
    if ref["apiVersion"] != "v1" or not where.startswith(("metadata.", "spec.", "status.")):
        detail = f"error converting fieldPath: field label not supported: {where}"
        return [invalid(f"{path}.fieldPath", where, detail)]
    if where not in allowed:
        if where not in ENV_PATHS and where not in VOLUME_PATHS:
            detail = f"error converting fieldPath: field label not supported: {where}"
            return [invalid(f"{path}.fieldPath", where, detail)]
        return [not_supported(f"{path}.fieldPath", where, allowed)]
    return []


def resource_ref(ref: Json, path: str, in_volume: bool) -> list[FieldError]:
    """A ResourceFieldSelector."""
    if in_volume and not ref.get("containerName"):
        return [required(f"{path}.containerName")]
    resource = ref.get("resource", "")
    if not resource:
        return [required(f"{path}.resource")]
    kind = resource.partition(".")[2]
    if resource not in RESOURCES and not kind.startswith("hugepages-"):
        return [not_supported(f"{path}.resource", resource, RESOURCES)]
    divisor = ref.get("divisor", "0")
    allowed = DIVISORS["cpu"] if kind == "cpu" else DIVISORS["memory"]
    if divisor not in ("0", *allowed):
        detail = (
            f"only divisor's values {', '.join(allowed)} are supported with the {kind} resource"
        )
        return [invalid(f"{path}.divisor", divisor, detail)]
    return []


def downward_api_items(items: list[Json] | None, path: str) -> list[FieldError]:
    """Files of a downwardAPI volume."""
    found: list[FieldError] = []
    for item in items or ():
        where = item.get("path", "")
        if not where:
            found.append(required(f"{path}.path"))
        found += local_path(where, f"{path}.path")
        if item.get("fieldRef") is not None:
            found += field_ref(item["fieldRef"], VOLUME_PATHS, f"{path}.fieldRef")
            if item.get("resourceFieldRef") is not None:
                detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
                found.append(invalid(path, "resource", detail))
        elif item.get("resourceFieldRef") is not None:
            found += resource_ref(item["resourceFieldRef"], f"{path}.resourceFieldRef", True)
        else:
            found.append(required(path, "one of fieldRef and resourceFieldRef is required"))
        found += mode(item.get("mode"), f"{path}.mode")
    return found


def validate_env(rows: list[Json], field: str) -> list[FieldError]:
    """Environment variables."""
    found: list[FieldError] = []
    for index, row in enumerate(rows):
        path = f"{field}[{index}]"
        name = row.get("name", "")
        if not name:
            found.append(required(f"{path}.name"))
        else:
            found += check_all(f"{path}.name", name, names.env_name(name))
        found += _value_from(row, f"{path}.valueFrom")
    return found


def _value_from(row: Json, path: str) -> list[FieldError]:
    source = row.get("valueFrom")
    if source is None:
        return []
    found: list[FieldError] = []
    count = 0
    if source.get("fieldRef") is not None:
        count += 1
        found += field_ref(source["fieldRef"], ENV_PATHS, f"{path}.fieldRef")
    if source.get("resourceFieldRef") is not None:
        count += 1
        found += resource_ref(source["resourceFieldRef"], f"{path}.resourceFieldRef", False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        ref = source.get(kind)
        if ref is None:
            continue
        count += 1
        key = ref.get("key", "")
        if not key:
            found.append(required(f"{path}.{kind}.key"))
        else:
            found += check_all(f"{path}.{kind}.key", key, names.config_key(key))
    if count == 0:
        detail = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
            "`secretKeyRef`"
        )
        found.append(invalid(path, "", detail))
    elif row.get("value"):
        found.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        found.append(invalid(path, "", "may not have more than one field specified at a time"))
    return found


def validate_env_from(rows: list[Json], field: str) -> list[FieldError]:
    """ConfigMaps and Secrets turned into environment variables."""
    found: list[FieldError] = []
    for index, row in enumerate(rows):
        path = f"{field}[{index}]"
        prefix = row.get("prefix", "")
        if prefix:
            found += check_all(f"{path}.prefix", prefix, names.env_name(prefix))
        kinds = [kind for kind in ("configMapRef", "secretRef") if row.get(kind) is not None]
        for kind in kinds:
            if not row[kind].get("name"):
                found.append(required(f"{path}.{kind}.name"))
        if not kinds:
            detail = "must specify one of: `configMapRef` or `secretRef`"
            found.append(invalid(f"{path}.", "", detail))
        elif len(kinds) > 1:
            detail = "may not have more than one field specified at a time"
            found.append(invalid(f"{path}.", "", detail))
    return found
