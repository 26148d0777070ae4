"""Where a volume's files come from, and the paths and modes they may have."""

from __future__ import annotations

from labsandbox.apiserver.validation.errors import FieldError, invalid

SOURCES = (
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
)
MODE_SAYS = "must be a number between 0 and 0777 (octal), both inclusive"


def no_backsteps(path: str, field: str) -> list[FieldError]:
    if ".." in path.split("/"):
        return [invalid(field, path, "must not contain '..'")]
    return []


def mode(value: int | None, field: str) -> list[FieldError]:
    if value is not None and not 0 <= value <= 0o777:
        return [invalid(field, value, MODE_SAYS)]
    return []


def descending_path(text: str, field: str) -> list[FieldError]:
    """A path that leads down from a folder."""
    if text.startswith("/"):
        return [invalid(field, text, "must be a relative path")]
    return no_backsteps(text, field)


def local_path(text: str, field: str) -> list[FieldError]:
    """A path of a file the kubelet writes into a volume, where names with `..` are its own."""
    found = descending_path(text, field)
    if text.startswith("..") and not text.startswith("../") and not found:
        found.append(invalid(field, text, "must not start with '..'"))
    return found
