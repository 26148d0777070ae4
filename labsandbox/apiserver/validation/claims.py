"""PersistentVolumeClaims, PersistentVolumes, StorageClasses."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.meta import IMMUTABLE, check_all, label_selector
from labsandbox.apiserver.validation.scheduling import node_selector
from labsandbox.apiserver.validation.sources import SOURCES, no_backsteps
from labsandbox.quantity import parse

Json = dict[str, Any]
MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
NOT_EMPTY = "must be greater than zero"


def _access_modes(modes: list[str], path: str, detail: str) -> list[FieldError]:
    found = [] if modes else [required(path, detail)]
    for mode in modes:
        if mode not in MODES:
            found.append(not_supported(path, mode, MODES))
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        detail = "may not use ReadWriteOncePod with other access modes"
        found.append(forbidden(path, detail))
    return found


def validate_claim_spec(spec: Json, field: str) -> list[FieldError]:
    """The spec of a claim, also inside a pod or a StatefulSet."""
    detail = "at least 1 access mode is required"
    modes = spec.get("accessModes") or []
    found = _access_modes(modes, f"{field}.accessModes", detail)
    found = found if modes else [required(f"{field}.accessModes", detail)]
    found += label_selector(spec.get("selector"), f"{field}.selector")
    path = f"{field}.resources[storage]"
    wanted = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if wanted is None:
        found.append(required(path))
    elif parse(wanted).nano <= 0:
        found.append(invalid(path, str(parse(wanted)), NOT_EMPTY))
    name = spec.get("storageClassName")
    if name:
        found += check_all(f"{field}.storageClassName", name, names.subdomain(name))
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        found.append(not_supported(f"{field}.volumeMode", mode, VOLUME_MODES))
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, value in (("dataSource", source), ("dataSourceRef", reference)):
        if value is not None:
            found += _data_source(value, f"{field}.{name}")
    if source is not None and reference is not None and not _same_source(source, reference):
        found.append(invalid(field, Raw(f"{field}.dataSource"), "must match dataSourceRef"))
    return found


def _same_source(source: Json, reference: Json) -> bool:
    return all(source.get(name) == reference.get(name) for name in ("apiGroup", "kind", "name"))


def _data_source(source: Json, path: str) -> list[FieldError]:
    found = [required(f"{path}.{name}") for name in ("name", "kind") if not source.get(name)]
    if not source.get("apiGroup") and source.get("kind") != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        found.append(invalid(path, source.get("kind", ""), detail))
    group = source.get("apiGroup")
    if group:
        found += check_all(f"{path}.apiGroup", group, names.subdomain(group))
    return found


def claim(obj: Json) -> list[FieldError]:
    return validate_claim_spec(obj.get("spec") or {}, "spec")


BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
FIXED = (
    "spec is immutable after creation except resources.requests and "
    "volumeAttributesClassName for bound claims"
)


def claim_update(new: Json, old: Json) -> list[FieldError]:
    """A claim keeps its spec: only a volume, a first class and more room may be set later."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    ours, theirs = dict(spec), dict(before)
    found: list[FieldError] = []
    if not before.get("volumeName") and "volumeName" in spec:
        theirs["volumeName"] = spec["volumeName"]
    annotations, was = _annotations(new), _annotations(old)
    if annotations.get(BETA_CLASS) != was.get(BETA_CLASS):
        path = f"metadata.annotations[{BETA_CLASS}]"
        found.append(invalid(path, annotations.get(BETA_CLASS, ""), IMMUTABLE))
    if before.get("storageClassName") is None and BETA_CLASS not in was:
        ours.pop("storageClassName", None)
    if (new.get("status") or {}).get("phase") == "Bound":
        ours["resources"] = _with_storage(spec, before)
    ours.pop("volumeAttributesClassName", None)
    theirs.pop("volumeAttributesClassName", None)
    if ours != theirs:
        from labsandbox.apiserver.validation.claimdiff import claim_diff

        found.append(forbidden("spec", f"{FIXED}\n{claim_diff(theirs, ours)}"))
    size, last = _storage(spec), _storage(before)
    capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage", "0")
    if size is not None and last is not None and size < last and size <= parse(capacity).nano:
        path = "spec.resources.requests.storage"
        found.append(forbidden(path, "field can not be less than status.capacity"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        found.append(invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    return found


def _annotations(obj: Json) -> Json:
    found: Json = (obj.get("metadata") or {}).get("annotations") or {}
    return found


def _with_storage(spec: Json, before: Json) -> Json:
    """The resources of a bound claim, with the storage it asked for at first."""
    resources: Json = spec.get("resources") or {}
    amount = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if not resources.get("requests") or amount is None:
        return resources
    return {**resources, "requests": {**resources["requests"], "storage": amount}}


def claim_status(new: Json, old: Json) -> list[FieldError]:
    """Amounts a claim reports; a real server prints a negative one as a whole number."""
    status = new.get("status") or {}
    found: list[FieldError] = []
    if not (new.get("spec") or {}).get("accessModes"):
        found.append(required("spec.accessModes"))
    for group in ("capacity", "allocatedResources"):
        for name, text in (status.get(group) or {}).items():
            amount = parse(text)
            path = f"status.{group}[{name}]"
            if group == "allocatedResources" and name != "storage" and "/" not in name:
                detail = "must be a standard resource type or fully qualified"
                found.append(invalid(path, name, detail))
            if amount.nano < 0:
                found.append(invalid(path, amount.value, "must be a valid resource quantity"))
    return found


def _storage(spec: Json) -> int | None:
    text = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return parse(text).nano if text is not None else None


PV_SOURCES = (*SOURCES, "local")


def volume(obj: Json) -> list[FieldError]:
    """A PersistentVolume."""
    spec, name = obj.get("spec") or {}, (obj.get("metadata") or {}).get("name", "")
    modes = spec.get("accessModes") or []
    found = _access_modes(modes, "spec.accessModes", "")
    capacity = spec.get("capacity") or {}
    if not capacity:
        found.append(required("spec.capacity"))
    if "storage" not in capacity or len(capacity) > 1:
        shown = capacity or Raw("core.ResourceList(nil)")
        found.append(not_supported("spec.capacity", shown, ("storage",)))
    for kind, text in capacity.items():
        if parse(text).nano <= 0:
            found.append(invalid(f"spec.capacity[{kind}]", str(parse(text)), NOT_EMPTY))
    policy = spec.get("persistentVolumeReclaimPolicy", "")
    if policy and policy not in ("Delete", "Recycle", "Retain"):
        allowed = ("Delete", "Recycle", "Retain")
        found.append(not_supported("spec.persistentVolumeReclaimPolicy", policy, allowed))
    found += _volume_source(spec, name)
    if spec.get("nodeAffinity") is not None:
        affinity = spec["nodeAffinity"].get("required")
        if affinity is None:
            detail = "must specify required node constraints"
            found.append(required("spec.nodeAffinity.required", detail))
        else:
            found += node_selector(affinity, "spec.nodeAffinity.required")
    elif spec.get("local") is not None:
        detail = "Local volume requires node affinity"
        found.append(required("spec.nodeAffinity", detail))
    host = (spec.get("hostPath") or {}).get("path", "")
    if host and host.rstrip("/") == "" and policy == "Recycle":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        found.append(forbidden("spec.persistentVolumeReclaimPolicy", detail))
    if spec.get("storageClassName"):
        value = spec["storageClassName"]
        found += check_all("spec.storageClassName", value, names.subdomain(value))
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        found.append(not_supported("spec.volumeMode", mode, VOLUME_MODES))
    return found


def _volume_source(spec: Json, name: str) -> list[FieldError]:
    kinds = [kind for kind in PV_SOURCES if spec.get(kind) is not None]
    if not kinds:
        return [required("spec", "must specify a volume type")]
    found = [
        forbidden(f"spec.{kind}", "may not specify more than 1 volume type") for kind in kinds[1:]
    ]
    kind, source = kinds[0], spec[kinds[0]]
    path = f"spec.{kind}"
    if kind in ("hostPath", "local"):
        where = source.get("path", "")
        if not where:
            return [required(f"{path}.path"), *found]
        return no_backsteps(where, f"{path}.path") + found
    if kind == "nfs":
        needed = [required(f"{path}.{key}") for key in ("server", "path") if not source.get(key)]
        return needed + found
    if kind == "csi":
        needed = [
            required(f"{path}.{key}") for key in ("driver", "volumeHandle") if not source.get(key)
        ]
        return needed + found
    return found


def volume_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    ours = {kind: spec[kind] for kind in PV_SOURCES if spec.get(kind) is not None}
    theirs = {kind: before[kind] for kind in PV_SOURCES if before.get(kind) is not None}
    found: list[FieldError] = []
    if ours != theirs:
        from labsandbox.apiserver.validation.godiff import spec_diff

        diff = spec_diff(theirs, ours).replace("core.PodSpec", "core.PersistentVolumeSource")
        detail = f"spec.persistentvolumesource is immutable after creation\n{diff}"
        found.append(forbidden("spec.persistentvolumesource", detail))
    if spec.get("volumeMode") != before.get("volumeMode"):
        found.append(invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    if before.get("nodeAffinity") and spec.get("nodeAffinity") != before.get("nodeAffinity"):
        found.append(invalid("spec.nodeAffinity", spec.get("nodeAffinity"), IMMUTABLE))
    return found


TOPOLOGY = "allowedTopologies"


def _topologies(terms: list[Json]) -> list[FieldError]:
    found: list[FieldError] = []
    seen: list[dict[str, set[str]]] = []
    for index, term in enumerate(terms):
        path = f"{TOPOLOGY}[{index}]"
        rows = term.get("matchLabelExpressions") or []
        values_of: dict[str, set[str]] = {}
        if not rows:
            found.append(required(f"{path}.matchLabelExpressions"))
        for position, row in enumerate(rows):
            where = f"{path}.matchLabelExpressions[{position}]"
            key, values = row.get("key", ""), row.get("values") or []
            if not values:
                found.append(required(f"{where}.values"))
            for at, value in enumerate(values):
                if value in values[:at]:
                    found.append(duplicate(f"{where}.values[{at}]", value))
            found += check_all(f"{where}.key", key, names.qualified_name(key))
            if key in values_of:
                found.append(duplicate(f"{where}.key", key))
            values_of[key] = set(values)
        if values_of in seen:
            found.append(duplicate(f"{path}.matchLabelExpressions", ""))
        seen.append(values_of)
    return found


def storage_class(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    provisioner = obj.get("provisioner", "")
    if not provisioner:
        found.append(required("provisioner", ""))
    else:
        problems = names.qualified_name(provisioner.lower())
        found += check_all("provisioner", provisioner, problems)
    for key in obj.get("parameters") or {}:
        if not key:
            found.append(invalid("parameters", key, "field can not be empty."))
    policy = obj.get("reclaimPolicy", "")
    if policy and policy not in ("Delete", "Retain"):
        found.append(not_supported("reclaimPolicy", policy, ("Delete", "Retain")))
    mode = obj.get("volumeBindingMode")
    allowed = ("Immediate", "WaitForFirstConsumer")
    if mode is None:
        found.append(required("volumeBindingMode"))
    elif mode not in allowed:
        found.append(not_supported("volumeBindingMode", mode, allowed))
    return found + _topologies(obj.get(TOPOLOGY) or [])


def storage_class_update(new: Json, old: Json) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("parameters", "provisioner", "reclaimPolicy"):
        if (new.get(name) or None) != (old.get(name) or None):
            found.append(forbidden(name, f"updates to {name} are forbidden."))
    if new.get("volumeBindingMode") != old.get("volumeBindingMode"):
        found.append(invalid("volumeBindingMode", new.get("volumeBindingMode"), IMMUTABLE))
    return found
