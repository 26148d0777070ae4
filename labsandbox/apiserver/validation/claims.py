"""PersistentVolumeClaims, PersistentVolumes, StorageClasses."""

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
from labsandbox.apiserver.validation.meta import IMMUTABLE, check_all, label_selector
from labsandbox.apiserver.validation.pods.scheduling import node_selector
from labsandbox.apiserver.validation.pods.volumes import SOURCES, no_backsteps
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
    source = spec.get("dataSource")
    if source is not None:
        found += _data_source(source, f"{field}.dataSource")
    return found


def _data_source(source: Json, path: str) -> list[FieldError]:
    found = [required(f"{path}.{name}") for name in ("name", "kind") if not source.get(name)]
    if not source.get("apiGroup") and source.get("kind") != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        found.append(invalid(path, source.get("kind", ""), detail))
    return found


def claim(obj: Json) -> list[FieldError]:
    return validate_claim_spec(obj.get("spec") or {}, "spec")


def claim_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    ours, theirs = _fixed(spec), _fixed(before)
    if before.get("volumeName", "") == "":
        ours.pop("volumeName", None)
        theirs.pop("volumeName", None)
    bound = (old.get("status") or {}).get("phase") == "Bound"
    found: list[FieldError] = []
    if bound:
        for part in (ours, theirs):
            part["resources"] = {
                key: value
                for key, value in (part.get("resources") or {}).items()
                if key != "requests"
            }
            part.pop("volumeAttributesClassName", None)
    if ours != theirs:
        from labsandbox.apiserver.validation.godiff import spec_diff

        diff = spec_diff(theirs, ours).replace("core.PodSpec", "core.PersistentVolumeClaimSpec")
        detail = (
            "spec is immutable after creation except resources.requests and "
            f"volumeAttributesClassName for bound claims\n{diff}"
        )
        found.append(forbidden("spec", detail))
    size, last = _storage(spec), _storage(before)
    if bound and size is not None and last is not None and size < last:
        capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage")
        if capacity is None or size <= parse(capacity).nano:
            path = "spec.resources.requests.storage"
            found.append(forbidden(path, "field can not be less than status.capacity"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        found.append(invalid("spec.volumeMode", spec.get("volumeMode"), IMMUTABLE))
    return found


def _fixed(spec: Json) -> Json:
    return {key: value for key, value in spec.items() if key not in ("volumeMode",)}


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
        found.append(invalid("spec.volumeMode", spec.get("volumeMode"), IMMUTABLE))
    if before.get("nodeAffinity") and spec.get("nodeAffinity") != before.get("nodeAffinity"):
        found.append(invalid("spec.nodeAffinity", spec.get("nodeAffinity"), IMMUTABLE))
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
    return found


def storage_class_update(new: Json, old: Json) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("parameters", "provisioner", "reclaimPolicy"):
        if (new.get(name) or None) != (old.get(name) or None):
            found.append(forbidden(name, f"updates to {name} are forbidden."))
    if new.get("volumeBindingMode") != old.get("volumeBindingMode"):
        found.append(invalid("volumeBindingMode", new.get("volumeBindingMode"), IMMUTABLE))
    return found
