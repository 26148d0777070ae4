"""Volumes of a pod."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.claims import validate_claim_spec
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.meta import check_all
from labsandbox.apiserver.validation.pods.fields import downward_api_items
from labsandbox.apiserver.validation.sources import (
    SOURCES,
    descending_path,
    local_path,
    mode,
    no_backsteps,
)
from labsandbox.quantity import parse

Json = dict[str, Any]
HOST_PATHS = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
ONE_TYPE = "may not specify more than 1 volume type"


def validate_volumes(volumes: list[Json], field: str) -> tuple[list[FieldError], dict[str, Json]]:
    """The problems, and the volumes by name."""
    found: list[FieldError] = []
    by_name: dict[str, Json] = {}
    for index, volume in enumerate(volumes):
        path = f"{field}[{index}]"
        name = volume.get("name", "")
        problems = _source(volume, path)
        if not name:
            problems.append(required(f"{path}.name"))
        else:
            problems += check_all(f"{path}.name", name, names.label(name))
        if name in by_name:
            problems.append(duplicate(f"{path}.name", name))
        if not problems:
            by_name[name] = volume
        found += problems
    return found, by_name


def _source(volume: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    count = 0
    for kind in SOURCES:
        source = volume.get(kind)
        if source is None:
            continue
        if count:
            found.append(forbidden(f"{path}.{kind}", ONE_TYPE))
            continue
        count += 1
        check = CHECKS.get(kind)
        if check is not None:
            found += check(source, f"{path}.{kind}")
    if count == 0:
        found.append(required(path, "must specify a volume type"))
    return found


def _needs(*fields: str) -> Any:
    def check(source: Json, path: str) -> list[FieldError]:
        return [required(f"{path}.{name}") for name in fields if not source.get(name)]

    return check


def _empty_dir(source: Json, path: str) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is not None and parse(limit).nano < 0:
        return [forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path(source: Json, path: str) -> list[FieldError]:
    where = source.get("path", "")
    if not where:
        return [required(f"{path}.path")]
    found = no_backsteps(where, f"{path}.path")
    kind = source.get("type")
    if kind is not None and kind not in HOST_PATHS:
        found.append(not_supported(f"{path}.type", kind, HOST_PATHS))
    return found


def key_to_paths(items: list[Json] | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, item in enumerate(items or ()):
        below = f"{path}.items[{index}]"
        if not item.get("key"):
            found.append(required(f"{below}.key"))
        if not item.get("path"):
            found.append(required(f"{below}.path"))
        found += local_path(item.get("path", ""), f"{below}.path")
        found += mode(item.get("mode"), f"{below}.mode")
    return found


def _secret(source: Json, path: str) -> list[FieldError]:
    found = [] if source.get("secretName") else [required(f"{path}.secretName")]
    found += mode(source.get("defaultMode"), f"{path}.defaultMode")
    return found + key_to_paths(source.get("items"), path)


def _config_map(source: Json, path: str) -> list[FieldError]:
    found = [] if source.get("name") else [required(f"{path}.name")]
    found += mode(source.get("defaultMode"), f"{path}.defaultMode")
    return found + key_to_paths(source.get("items"), path)


def _downward(source: Json, path: str) -> list[FieldError]:
    found = mode(source.get("defaultMode"), f"{path}.defaultMode")
    return found + downward_api_items(source.get("items"), path)


def _projected(source: Json, path: str) -> list[FieldError]:
    found = mode(source.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for index, row in enumerate(source.get("sources") or ()):
        below = f"{path}.sources[{index}]"
        kinds = [
            kind
            for kind in (
                "secret",
                "configMap",
                "downwardAPI",
                "serviceAccountToken",
                "clusterTrustBundle",
            )
            if row.get(kind) is not None
        ]
        if not kinds:
            found.append(required(below, "must specify a volume type"))
        for kind in kinds[1:]:
            found.append(forbidden(f"{below}.{kind}", ONE_TYPE))
        if kinds:
            found += _projection(kinds[0], row[kinds[0]], f"{below}.{kinds[0]}", taken)
    return found


def _projection(kind: str, source: Json, path: str, taken: set[str]) -> list[FieldError]:
    found: list[FieldError] = []
    places = [item.get("path", "") for item in source.get("items") or ()]
    if kind in ("secret", "configMap"):
        if not source.get("name"):
            found.append(required(f"{path}.name"))
        found += key_to_paths(source.get("items"), path)
    elif kind == "downwardAPI":
        found += downward_api_items(source.get("items"), path)
    elif kind == "serviceAccountToken":
        seconds = source.get("expirationSeconds", 3600)
        if seconds < 600:
            detail = "may not specify a duration less than 10 minutes"
            found.append(invalid(f"{path}.expirationSeconds", seconds, detail))
        if seconds > 2**32:
            detail = "may not specify a duration larger than 2^32 seconds"
            found.append(invalid(f"{path}.expirationSeconds", seconds, detail))
        places = [source.get("path", "")]
        if not places[0]:
            found.append(required(f"{path}.path"))
        else:
            found += local_path(places[0], f"{path}.path")
    for place in places:
        if place in taken:
            found.append(invalid(path, place, "conflicting duplicate paths"))
        elif place:
            taken.add(place)
    return found


def _claim(source: Json, path: str) -> list[FieldError]:
    return [] if source.get("claimName") else [required(f"{path}.claimName")]


def _nfs(source: Json, path: str) -> list[FieldError]:
    found = [required(f"{path}.{name}") for name in ("server", "path") if not source.get(name)]
    if source.get("path") and not source["path"].startswith("/"):
        found.append(invalid(f"{path}.path", source["path"], "must be an absolute path"))
    return found


def _csi(source: Json, path: str) -> list[FieldError]:
    driver = source.get("driver", "")
    if not driver:
        return [required(f"{path}.driver")]
    found = check_all(f"{path}.driver", driver, names.subdomain(driver.lower()))
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        found.append(required(f"{path}.nodePublishSecretRef.name"))
    return found


def _ephemeral(source: Json, path: str) -> list[FieldError]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [required(f"{path}.volumeClaimTemplate")]
    return validate_claim_spec(template.get("spec") or {}, f"{path}.volumeClaimTemplate.spec")


CHECKS: dict[str, Any] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "gitRepo": _needs("repository"),
    "gcePersistentDisk": _needs("pdName"),
    "awsElasticBlockStore": _needs("volumeID"),
    "secret": _secret,
    "nfs": _nfs,
    "iscsi": _needs("targetPortal", "iqn"),
    "glusterfs": _needs("endpoints", "path"),
    "persistentVolumeClaim": _claim,
    "rbd": _needs("monitors", "image"),
    "cinder": _needs("volumeID"),
    "cephfs": _needs("monitors"),
    "downwardAPI": _downward,
    "flexVolume": _needs("driver"),
    "configMap": _config_map,
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "azureDisk": _needs("diskName", "diskURI"),
    "projected": _projected,
    "csi": _csi,
    "ephemeral": _ephemeral,
}


def validate_mounts(
    mounts: list[Json], volumes: dict[str, Json], devices: dict[str, str], field: str
) -> list[FieldError]:
    """Where a container mounts the pod's volumes."""
    found: list[FieldError] = []
    places: set[str] = set()
    for index, mount in enumerate(mounts):
        path = f"{field}[{index}]"
        name, where = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(required(f"{path}.name"))
        volume = volumes.get(name)
        if volume is None:
            found.append(not_found(f"{path}.name", name))
        if not where:
            found.append(required(f"{path}.mountPath"))
        if where in places:
            found.append(invalid(f"{path}.mountPath", where, "must be unique"))
        places.add(where)
        if name in devices:
            detail = "must not already exist in volumeDevices"
            found.append(invalid(f"{path}.name", name, detail))
        if where in devices.values():
            detail = "must not already exist as a path in volumeDevices"
            found.append(invalid(f"{path}.mountPath", where, detail))
        if mount.get("subPath"):
            found += descending_path(mount["subPath"], f"{path}.subPath")
        expression = mount.get("subPathExpr")
        if expression:
            if mount.get("subPath"):
                detail = "subPathExpr and subPath are mutually exclusive"
                found.append(invalid(f"{path}.subPathExpr", expression, detail))
            found += descending_path(expression, f"{path}.subPathExpr")
        propagation = mount.get("mountPropagation")
        allowed = ("Bidirectional", "HostToContainer", "None")
        if propagation is not None and propagation not in allowed:
            found.append(not_supported(f"{path}.mountPropagation", propagation, allowed))
    return found


def validate_devices(
    devices: list[Json], mounts: set[str], places: set[str], volumes: dict[str, Json], field: str
) -> list[FieldError]:
    """Raw block devices of a container."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, device in enumerate(devices):
        path = f"{field}[{index}]"
        name, where = device.get("name", ""), device.get("devicePath", "")
        if not name:
            found.append(required(f"{path}.name"))
        volume = volumes.get(name)
        if volume is None:
            found.append(not_found(f"{path}.name", name))
        elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            detail = (
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block "
                "mode"
            )
            found.append(invalid(f"{path}.name", name, detail))
        if not where:
            found.append(required(f"{path}.devicePath"))
        elif where in seen:
            found.append(invalid(f"{path}.devicePath", where, "must be unique"))
        seen.add(where)
        if name in mounts:
            found.append(invalid(f"{path}.name", name, "must not already exist in volumeMounts"))
        if where in places:
            detail = "must not already exist as a path in volumeMounts"
            found.append(invalid(f"{path}.devicePath", where, detail))
    return found
