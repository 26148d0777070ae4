"""Turn a pod's volumes into folders, and its mounts into links below the container's root.

A ConfigMap or Secret appears as the kubelet writes it: files are links to `..data/<file>`, `..data`
is a link to a dated folder, and a change replaces that one link, so a reader sees all of the old or
all of the new version.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsandbox import tree
from labsandbox.node.environment import ConfigError, Find, contents, expand, field, resource_field
from labsandbox.tree import Route

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

    path: str  # clean: absolute, without `..`
    route: Route
    is_writable: bool

    @property
    def source(self) -> str:
        """Return the path to show; whoever opens it opens the route."""
        return os.path.join(self.route[0], *filter(None, map(tree.clean, self.route[1:])))


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
    _write_dated(folder / stamp, files)
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
        tree.remove(str(folder / old))
    return True


def _write_dated(dated: Path, files: Files) -> None:
    dated.mkdir()
    folder = tree.open_route((str(dated),))
    try:
        for path, (data, mode) in files.items():
            # The owner of the platform must be able to read it back: 0o400 at least.
            tree.write(folder, _safe(path), data, mode | 0o400)
    except (ConfigError, OSError):
        tree.remove(str(dated))  # It is tried again every few seconds.
        raise
    finally:
        os.close(folder)


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
    container: Object, sources: dict[str, tuple[Route, bool]], env: dict[str, str]
) -> list[Mount]:
    """Return the container's mounts, the outer ones first."""
    mounts = []
    for entry in container.get("volumeMounts") or []:
        if entry["name"] not in sources:
            raise MountError(f'volume "{entry["name"]}" is not there')
        route, is_writable = sources[entry["name"]]
        below = entry.get("subPath") or expand(entry.get("subPathExpr") or "", env)
        if below:
            route = _below(route, _safe(below), is_writable)
        path = "/" + tree.clean(entry["mountPath"])
        mounts.append(Mount(path, route, is_writable and not entry.get("readOnly")))
    return sorted(mounts, key=lambda mount: mount.path.count("/"))


def _below(route: Route, path: str, is_writable: bool) -> Route:
    """Return the route to a path in a volume, made if it may be; raise MountError if it leaves.

    Links that stay inside the volume are followed, as a kubelet follows them. This is a check and
    not the protection: whoever uses the route opens it beneath the volume once more.
    """
    try:
        folder = tree.open_route(route)
        try:
            os.close(_open_or_make(folder, path, is_writable))
        finally:
            os.close(folder)
    except OSError as error:
        raise MountError(
            f"failed to prepare subPath {path!r}: {error.strerror}; expected a path, or a link, "
            "that stays inside the volume"
        ) from error
    return (*route, path)


def _open_or_make(folder: int, path: str, is_writable: bool = True) -> int:
    try:
        return tree.open_at(folder, path, os.O_PATH, follow=True)
    except FileNotFoundError:
        if not is_writable:
            raise
        return tree.make_folders(folder, path, follow=True)


# differs: a mount within another volume takes the place of a link or of something empty and nothing
# else; a kubelet hides what is there for as long as the pod runs.
def link(root: Path, mounts: list[Mount]) -> None:
    """Make the mounts appear below a container's root that nothing has run in yet."""
    for index, mount in enumerate(mounts):
        if mount.path == "/":
            continue  # A mount over the whole root would hide the platform's own files.
        outer = find_mount(mounts[:index], mount.path)
        route = outer.route if outer else (str(root),)
        below = mount.path.removeprefix(outer.path.rstrip("/") if outer else "")
        try:
            if outer and not outer.is_writable:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            folder = tree.open_route(route)
            try:
                tree.put_link(folder, below, mount.source, is_own=outer is None)
            finally:
                os.close(folder)
        except OSError as error:
            raise MountError(f"cannot mount at {mount.path}: {error.strerror}") from error


def find_mount(mounts: Iterable[Mount], path: str) -> Mount | None:
    """Return the innermost mount a clean path of a container lies in."""
    found = [m for m in mounts if m.path != "/" and f"{path}/".startswith(f"{m.path}/")]
    return max(found, key=lambda mount: len(mount.path), default=None)


def inside(root: Path, mounts: Iterable[Mount], path: str) -> Route:
    """Return where a container's path lies: in one of its mounts, or in its own root."""
    path = f"/{tree.clean(path)}"
    mount = find_mount(mounts, path)
    if mount is None:
        return str(root), path
    return (*mount.route, path.removeprefix(mount.path))


def claim_folder(
    claim: Object | None, name: str, volume: Callable[[str], Object | None], allowed: list[Path]
) -> Route:
    """Return the folder behind a persistent volume claim."""
    if claim is None:
        raise MountError(f'persistentvolumeclaim "{name}" not found')
    bound = (claim.get("spec") or {}).get("volumeName")
    found = volume(bound) if bound else None
    if found is None:
        raise MountError(f'persistentvolumeclaim "{name}" is not bound to a volume yet')
    spec, meta = found["spec"], claim["metadata"]
    reference = spec.get("claimRef") or {}
    # Anybody may write any volume's name into a claim; the volume says whose it is.
    if any(reference.get(key) != meta[key] for key in ("namespace", "name", "uid")):
        raise MountError(
            f'persistentvolume "{bound}" does not belong to persistentvolumeclaim "{name}"; make a '
            "claim without volumeName, or have the volume's claimRef name this claim"
        )
    path = (spec.get("local") or spec.get("hostPath") or {}).get("path")
    if not path:
        raise MountError(f'persistentvolume "{bound}" is not a folder of this machine')
    return permitted(Path(path), allowed)


def permitted(path: Path, allowed: list[Path]) -> Route:
    """Return a host folder if pods may have it, made when missing; raise MountError if not."""
    for given in (Path(os.path.normpath(path)), path.resolve()):
        for folder in allowed:
            for root in (folder, folder.resolve()):
                if given.is_relative_to(root):
                    return _host_folder(root, str(given.relative_to(root)))
    raise MountError(
        f"hostPath {path} is not shared with pods; use a persistentVolumeClaim, or allow the "
        "folder with --allow-host-path"
    )


def _host_folder(root: Path, below: str) -> Route:
    root.mkdir(parents=True, exist_ok=True)
    try:
        folder = tree.open_route((str(root),))
        try:
            os.close(_open_or_make(folder, below))
        finally:
            os.close(folder)
    except OSError as error:
        raise MountError(
            f"hostPath {root / below} is not shared with pods: {error.strerror}; expected a path "
            f"that stays inside {root}"
        ) from error
    return str(root), below
