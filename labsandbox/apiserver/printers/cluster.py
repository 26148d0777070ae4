"""Rows for nodes, events, storage, access and the other kinds a cluster is made of."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.printers.age import UNKNOWN, age
from labsandbox.apiserver.printers.cells import (
    NONE,
    UNSET,
    Json,
    at,
    count,
    created,
    items,
    name,
    or_none,
    quantity,
)

ROLE_PREFIX = "node-role.kubernetes.io/"
MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)
DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def node_row(obj: Json) -> list[Any]:
    """The cells of a Node."""
    info = at(obj, "status", "nodeInfo") or {}
    return [
        name(obj),
        _node_status(obj),
        _roles(obj),
        created(obj),
        str(info.get("kubeletVersion") or ""),
        _node_address(obj, "InternalIP"),
        _node_address(obj, "ExternalIP"),
        str(info.get("osImage") or UNKNOWN),
        str(info.get("kernelVersion") or UNKNOWN),
        str(info.get("containerRuntimeVersion") or UNKNOWN),
    ]


def _node_status(obj: Json) -> str:
    ready = next(
        (one for one in items(obj, "status", "conditions") if one.get("type") == "Ready"), None
    )
    word = "Unknown"
    if ready is not None:
        word = "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if at(obj, "spec", "unschedulable") else word


def _roles(obj: Json) -> str:
    found = set()
    for key, value in (at(obj, "metadata", "labels") or {}).items():
        if key.startswith(ROLE_PREFIX) and key != ROLE_PREFIX:
            found.add(key.removeprefix(ROLE_PREFIX))
        elif key == "kubernetes.io/role" and value:
            found.add(value)
    return ",".join(sorted(found)) or NONE


def _node_address(obj: Json, kind: str) -> str:
    found = (one for one in items(obj, "status", "addresses") if one.get("type") == kind)
    return or_none(next((one.get("address") for one in found), None))


def event_row(obj: Json) -> list[Any]:
    """The cells of an Event, in the field names of either of its two APIs."""
    first = _first(obj, "firstTimestamp", "deprecatedFirstTimestamp") or obj.get("eventTime")
    series = obj.get("series") or {}
    number = series.get("count") or _first(obj, "count", "deprecatedCount") or 1
    last = series.get("lastObservedTime") or _first(obj, "lastTimestamp", "deprecatedLastTimestamp")
    about = _first(obj, "involvedObject", "regarding") or {}
    kind = str(about.get("kind", "")).lower()
    return [
        age(last or first),
        str(obj.get("type") or ""),
        str(obj.get("reason") or ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        str(about.get("fieldPath") or ""),
        _source(obj),
        str(_first(obj, "message", "note") or "").strip(),
        age(first),
        number,
        name(obj),
    ]


def _first(obj: Json, *names: str) -> Any:
    return next((obj[key] for key in names if obj.get(key)), None)


def _source(obj: Json) -> str:
    source = _first(obj, "source", "deprecatedSource") or {}
    component, host = source.get("component"), source.get("host")
    component = component or _first(obj, "reportingComponent", "reportingController")
    host = host or obj.get("reportingInstance")
    return ", ".join(str(part) for part in (component, host) if part)


def namespace_row(obj: Json) -> list[Any]:
    """The cells of a Namespace."""
    return [name(obj), str(at(obj, "status", "phase") or ""), created(obj)]


def secret_row(obj: Json) -> list[Any]:
    """The cells of a Secret: how many values, never which."""
    return [name(obj), str(obj.get("type") or ""), len(obj.get("data") or {}), created(obj)]


def config_map_row(obj: Json) -> list[Any]:
    """The cells of a ConfigMap."""
    total = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
    return [name(obj), total, created(obj)]


def service_account_row(obj: Json) -> list[Any]:
    """The cells of a ServiceAccount."""
    return [name(obj), len(items(obj, "secrets")), created(obj)]


def volume_row(obj: Json) -> list[Any]:
    """The cells of a PersistentVolume."""
    claim = at(obj, "spec", "claimRef") or {}
    phase = str(at(obj, "status", "phase") or "")
    return [
        name(obj),
        quantity(at(obj, "spec", "capacity", "storage")),
        _modes(items(obj, "spec", "accessModes")),
        str(at(obj, "spec", "persistentVolumeReclaimPolicy") or ""),
        "Terminating" if at(obj, "metadata", "deletionTimestamp") else phase,
        f"{claim.get('namespace', '')}/{claim['name']}" if claim.get("name") else "",
        _storage_class(obj),
        str(at(obj, "spec", "volumeAttributesClassName") or UNSET),
        str(at(obj, "status", "reason") or ""),
        created(obj),
        str(at(obj, "spec", "volumeMode") or UNSET),
    ]


def volume_claim_row(obj: Json) -> list[Any]:
    """The cells of a PersistentVolumeClaim."""
    volume = str(at(obj, "spec", "volumeName") or "")
    phase = str(at(obj, "status", "phase") or "")
    return [
        name(obj),
        "Terminating" if at(obj, "metadata", "deletionTimestamp") else phase,
        volume,
        quantity(at(obj, "status", "capacity", "storage")) if volume else "",
        _modes(items(obj, "status", "accessModes")) if volume else "",
        _storage_class(obj),
        str(at(obj, "spec", "volumeAttributesClassName") or UNSET),
        created(obj),
        str(at(obj, "spec", "volumeMode") or UNSET),
    ]


def _modes(modes: list[Any]) -> str:
    return ",".join(short for long, short in MODES if long in modes)


def _storage_class(obj: Json) -> str:
    annotations = at(obj, "metadata", "annotations") or {}
    return str(annotations.get(BETA_CLASS) or at(obj, "spec", "storageClassName") or "")


def storage_class_row(obj: Json) -> list[Any]:
    """The cells of a StorageClass."""
    annotations = at(obj, "metadata", "annotations") or {}
    is_default = any(annotations.get(key) == "true" for key in DEFAULT_CLASS)
    return [
        f"{name(obj)} (default)" if is_default else name(obj),
        str(obj.get("provisioner") or ""),
        str(obj.get("reclaimPolicy") or "Delete"),
        str(obj.get("volumeBindingMode") or "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        created(obj),
    ]


def quota_row(obj: Json) -> list[Any]:
    """The cells of a ResourceQuota: used and allowed, requests apart from limits."""
    hard, used = at(obj, "status", "hard") or {}, at(obj, "status", "used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for key in sorted(hard):
        text = f"{key}: {quantity(used.get(key, '0'))}/{quantity(hard[key])}"
        (limits if key.startswith("limits") else requests).append(text)
    return [name(obj), created(obj), ", ".join(requests), ", ".join(limits)]


def binding_row(obj: Json) -> list[Any]:
    """The cells of a RoleBinding or ClusterRoleBinding."""
    subjects = items(obj, "subjects")
    role = at(obj, "roleRef") or {}

    def named(kind: str) -> str:
        return ", ".join(str(one.get("name")) for one in subjects if one.get("kind") == kind)

    accounts = ", ".join(
        f"{one.get('namespace', '')}/{one.get('name')}"
        for one in subjects
        if one.get("kind") == "ServiceAccount"
    )
    return [
        name(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        created(obj),
        named("User"),
        named("Group"),
        accounts,
    ]


def lease_row(obj: Json) -> list[Any]:
    """The cells of a Lease."""
    return [name(obj), str(at(obj, "spec", "holderIdentity") or ""), created(obj)]


def priority_class_row(obj: Json) -> list[Any]:
    """The cells of a PriorityClass."""
    policy = str(obj.get("preemptionPolicy") or UNSET)
    return [name(obj), count(obj, "value"), bool(obj.get("globalDefault")), created(obj), policy]


def webhooks_row(obj: Json) -> list[Any]:
    """The cells of a webhook configuration."""
    return [name(obj), len(items(obj, "webhooks")), created(obj)]


def policy_row(obj: Json) -> list[Any]:
    """The cells of a ValidatingAdmissionPolicy."""
    param = at(obj, "spec", "paramKind")
    shown = f"{param.get('apiVersion')}/{param.get('kind')}" if param else UNSET
    return [name(obj), len(items(obj, "spec", "validations")), shown, created(obj)]


def signing_request_row(obj: Json) -> list[Any]:
    """The cells of a CertificateSigningRequest."""
    found = {one.get("type") for one in items(obj, "status", "conditions")}
    words = [word for word in ("Approved", "Denied", "Failed") if word in found]
    if at(obj, "status", "certificate"):
        words.append("Issued")
    seconds = at(obj, "spec", "expirationSeconds")
    return [
        name(obj),
        created(obj),
        str(at(obj, "spec", "signerName") or NONE),
        str(at(obj, "spec", "username") or ""),
        f"{seconds}s" if seconds else NONE,
        ",".join(words) or "Pending",
    ]
