"""Turn a pod's volumes into folders, and its mounts into links below the container's root.

A ConfigMap or Secret appears as the kubelet writes it: files are links to `..data/<file>`, `..data`
is a link to a dated folder, and a change replaces that one link, so a reader sees all of the old or
all of the new version.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsandbox.node.environment import ConfigError, Find, contents, expand, field, resource_field

Object = dict[str, Any]
Files = dict[str, tuple[bytes, int]]  # path below the volume -> content, mode
TokenKey = tuple[str, int]  # audience, seconds

WRITTEN = ("configMap", "secret", "projected", "downwardAPI")
_DEFAULT_MODE = 0o644


class MountError(Exception):
    """A volume cannot be mounted (yet)."""


@dataclass(frozen=True)
class Mount:
    """One mount of a container: where it appears and what is behind it."""

    path: str
    source: Path
    is_writable: bool


def kind_of(volume: Object) -> str:
    """Return the volume's type, such as configMap or emptyDir."""
    return next((key for key in volume if key != "name"), "emptyDir")


def token_requests(pod: Object) -> list[TokenKey]:
    """Return the service account tokens the pod's volumes ask for."""
    return [
        (source["serviceAccountToken"].get("audience", ""), _seconds(source["serviceAccountToken"]))
        for volume in pod["spec"].get("volumes") or []
        for source in (volume.get("projected") or {}).get("sources") or []
        if "serviceAccountToken" in source
    ]


def _seconds(source: Object) -> int:
    return int(source.get("expirationSeconds") or 3600)


def files_of(
    volume: Object,
    pod: Object,
    find: Find,
    tokens: dict[TokenKey, str],
    allocatable: dict[str, str],
) -> Files:
    """Return the files a written volume consists of; raise ConfigError when a source is missing."""
    kind = kind_of(volume)
    source = volume[kind]
    if kind != "projected":
        return _source_files(
            kind, source, pod, find, tokens, allocatable, source.get("defaultMode")
        )
    files: Files = {}
    for part in source.get("sources") or []:
        word = next(iter(part))
        mode = source.get("defaultMode")
        files |= _source_files(word, part[word], pod, find, tokens, allocatable, mode)
    return files


def _source_files(
    kind: str,
    source: Object,
    pod: Object,
    find: Find,
    tokens: dict[TokenKey, str],
    allocatable: dict[str, str],
    default: int | None,
) -> Files:
    mode = _DEFAULT_MODE if default is None else default
    if kind == "serviceAccountToken":
        token = tokens.get((source.get("audience", ""), _seconds(source)))
        if token is None:
            raise ConfigError("the service account token is not there yet")
        return {source["path"]: (token.encode(), 0o600)}
    if kind == "downwardAPI":
        return {
            item["path"]: (
                _downward(item, pod, allocatable).encode(),
                item.get("mode") or mode,
            )
            for item in source.get("items") or []
        }
    if kind not in ("configMap", "secret"):
        raise ConfigError(f"a projected volume cannot hold {kind} on this platform")
    name: str = source.get("name") or source.get("secretName") or ""
    found = find("Secret" if kind == "secret" else "ConfigMap", name)
    if found is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{name}" not found')
    return _keyed(contents(found), source, mode)


def _keyed(data: dict[str, bytes], source: Object, mode: int) -> Files:
    items = source.get("items")
    if not items:
        return {key: (value, mode) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise ConfigError(f"references non-existent config key: {item['key']}")
        files[item["path"]] = (data[item["key"]], item.get("mode") or mode)
    return files


def _downward(item: Object, pod: Object, allocatable: dict[str, str]) -> str:
    if "fieldRef" in item:
        return field(pod, item["fieldRef"]["fieldPath"])
    return resource_field(pod, {}, item["resourceFieldRef"], allocatable)


def write_files(folder: Path, files: Files) -> bool:
    """Make a folder show these files, all at once; False when it already did."""
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "..data"
    if current.exists() and _read_files(current) == files:
        return False
    before = {path.split("/")[0] for path in _read_files(current)} if current.exists() else set()
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime()) + str(time.time_ns() % 10**9)
    dated = folder / stamp
    dated.mkdir()
    for path, (data, mode) in files.items():
        target = dated / _safe(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # The owner of the platform must be able to read it back: 0o400 at least.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode | 0o400)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(target, mode | 0o400)
    old = os.readlink(current) if current.is_symlink() else None
    temporary = folder / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(stamp)
    os.replace(temporary, current)
    tops = {path.split("/")[0] for path in files}
    for top in tops:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(Path("..data") / top)
    for top in before - tops:
        (folder / top).unlink(missing_ok=True)
    if old:
        shutil.rmtree(folder / old, ignore_errors=True)
    return True


def _read_files(current: Path) -> Files:
    # Modes are as written; a mode without the owner's read bit reads back with it, which costs
    # one needless rewrite and nothing else.
    return {
        str(path.relative_to(current)): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in current.rglob("*")
        if path.is_file()
    }


def _safe(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigError(f"expected a path inside the volume; found {path!r}")
    return path


def mounts_of(
    container: Object, sources: dict[str, tuple[Path, bool]], env: dict[str, str]
) -> list[Mount]:
    """Return the container's mounts, the outer ones first."""
    mounts = []
    for entry in container.get("volumeMounts") or []:
        if entry["name"] not in sources:
            raise MountError(f'volume "{entry["name"]}" is not there')
        source, is_writable = sources[entry["name"]]
        below = entry.get("subPath") or expand(entry.get("subPathExpr") or "", env)
        if below:
            source = source / _safe(below)
            if not source.exists() and is_writable:
                source.mkdir(parents=True)
        path = "/" + entry["mountPath"].strip("/")
        mounts.append(Mount(path, source, is_writable and not entry.get("readOnly")))
    return sorted(mounts, key=lambda mount: mount.path.count("/"))


def link(root: Path, mounts: list[Mount]) -> None:
    """Make the mounts appear below a container's root."""
    for mount in mounts:
        place = root / mount.path.lstrip("/")
        if place == root:
            continue  # A mount over the whole root would hide the platform's own files.
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)
        place.symlink_to(mount.source)


def claim_folder(
    claim: Object | None, name: str, volume: Callable[[str], Object | None], allowed: list[Path]
) -> Path:
    """Return the folder behind a persistent volume claim."""
    if claim is None:
        raise MountError(f'persistentvolumeclaim "{name}" not found')
    bound = (claim.get("spec") or {}).get("volumeName")
    found = volume(bound) if bound else None
    if found is None:
        raise MountError(f'persistentvolumeclaim "{name}" is not bound to a volume yet')
    spec = found["spec"]
    path = (spec.get("local") or spec.get("hostPath") or {}).get("path")
    if not path:
        raise MountError(f'persistentvolume "{bound}" is not a folder of this machine')
    return permitted(Path(path), allowed)


def permitted(path: Path, allowed: list[Path]) -> Path:
    """Return a host folder if pods may have it; raise MountError if not."""
    real = path.resolve()
    if any(real.is_relative_to(folder.resolve()) for folder in allowed):
        real.mkdir(parents=True, exist_ok=True)
        return real
    raise MountError(
        f"hostPath {path} is not shared with pods; use a persistentVolumeClaim, or allow the "
        "folder with --allow-host-path"
    )
