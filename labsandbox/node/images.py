"""Image name -> program: what the catalogue says an image is on this machine.

`images.toml` has the plain images; `<application>/image.toml` beside it is an application's own.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import platformdirs

from labsandbox import tree

_INTERPRETER = re.compile(r"\{python:([a-z0-9][a-z0-9-]*)\}")
_STAMP = "house-on-the-lake.stamp"


@dataclass(frozen=True)
class Image:
    """The program behind an image name."""

    name: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    root: Path | None = None
    packages: dict[str, Path] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    read: tuple[str, ...] = ()
    shared_memory: str = ""  # the reason why it gets the host's /dev/shm where it has no own one
    unix_sockets: str = ""  # the reason why its programs may use the host's, empty: they may not
    python: str = sys.executable  # of the environment that the program runs in
    environments: tuple[str, ...] = ()  # their names; none: the platform's own
    is_beside: bool = False  # the program runs in the platform's own; a variable names the other


class UnknownImage(Exception):
    """No program is known for an image name, or its environment is not installed."""


class Images:
    """The catalogue of images, read again when one of its files changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: dict[Path, int] = {}
        self._images: dict[str, Image] = {}

    def known(self) -> dict[str, Image]:
        """Return all images by name pattern; raise UnknownImage when a file is damaged."""
        try:
            files = [self.path, *sorted(self.path.parent.glob("*/image.toml"))]
            changed = {file: file.stat().st_mtime_ns for file in files}
            if changed != self._read_at:
                base = self.path.resolve().parent.parent
                table = dict(_entries(files))
                self._images = {name: _image(name, entry, base) for name, entry in table.items()}
                self._read_at = changed
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UnknownImage(
                f"The table of images {self._short} cannot be read: {error}. Correct the file."
            ) from error
        return self._images

    @property
    def _short(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    def find(self, name: str) -> Image:
        """Return the image a container names; raise UnknownImage with the known names."""
        known = self.known()
        short = normalise(name)
        root = self.path.resolve().parent.parent
        if short in known:
            return _with_interpreter(known[short], root)
        for pattern, image in known.items():
            if fnmatchcase(short, normalise(pattern)):
                return _with_interpreter(image, root)
        raise UnknownImage(
            f'Expected one of the images of this platform, found "{name}". There are: '
            f"{', '.join(sorted(known))}. Use one of them, or say in {self._short}, or in "
            f"<application>/image.toml beside it, which program of this machine it is: "
            f'[images."{short}"] with a command.'
        )


def _entries(files: Sequence[Path]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each image's name and entry: the plain ones, then the applications'."""
    plain = _read(files[0])
    yield from plain.get("images", {}).items()
    for file in files[1:]:
        entry = _read(file)
        if not entry.get("name"):
            raise UnknownImage(f'expected name = "<image>:<tag>" in {file}; found none')
        yield str(entry["name"]), plain.get("applications", {}) | entry


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise UnknownImage(f"expected TOML in {file}; found a mistake: {error}") from error


def environment_folders(root: Path, name: str) -> tuple[Path, Path]:
    """Return where a named environment may be: beside the checkout's .venv, or in the cache.

    `labs setup <name>` makes it in the first one that it may write to (labrunner/install.py).
    """
    named = os.environ.get("LABS_CACHE")
    cache = Path(named) if named else platformdirs.user_cache_path("house-on-the-lake")
    return root / f".venv-{name}", cache / "environments" / name


def _with_interpreter(image: Image, root: Path) -> Image:
    """Fill {python:<name>} in; raise UnknownImage when the environment is not installed."""
    if not image.environments:
        return image
    if len(image.environments) > 1:
        names = ", ".join(image.environments)
        raise UnknownImage(f'image "{image.name}" names the environments {names}; a pod has one')
    name = image.environments[0]
    for folder in environment_folders(root, name):
        # The stamp is written last: without it an installation was broken off.
        if (folder / _STAMP).is_file():
            python = str(folder / "bin" / "python")
            word = f"{{python:{name}}}"
            command = tuple(each.replace(word, python) for each in image.command)
            args = tuple(each.replace(word, python) for each in image.args)
            env = {key: value.replace(word, python) for key, value in image.env.items()}
            image = replace(image, command=command, args=args, env=env)
            if image.is_beside:
                base = Path(python).resolve().parent.parent
                return replace(image, read=(*image.read, str(folder), str(base)))
            return replace(image, python=python)
    raise UnknownImage(
        f'image "{image.name}" needs the environment "{name}", which is not installed; type '
        f"`labs setup {name}`, and the pod starts by itself"
    )


def normalise(name: str) -> str:
    """Return an image name without a registry's host, `library/` and digest, with a tag."""
    name = name.partition("@")[0]
    host, slash, rest = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        name = rest
    name = name.removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _image(name: str, entry: dict[str, object], base: Path) -> Image:
    def words(key: str) -> tuple[str, ...]:
        value = entry.get(key) or []
        if not isinstance(value, list):
            raise TypeError(f'images."{name}".{key} is no list')
        return tuple(str(word).replace("{python}", sys.executable) for word in value)

    root, packages, env = entry.get("root"), entry.get("packages") or {}, entry.get("env") or {}
    if not isinstance(packages, dict) or not isinstance(env, dict):
        raise TypeError(f'packages and env of images."{name}" are tables')
    own = {found for word in words("command") + words("args") for found in _names(word)}
    beside = {found for word in env.values() for found in _names(str(word))}
    return Image(
        name=name,
        command=words("command"),
        args=words("args"),
        root=base / str(root) if root else None,
        packages={str(path): base / str(folder) for path, folder in packages.items()},
        env={str(k): str(v) for k, v in env.items()},
        read=tuple(str(base / word) for word in words("read")),
        shared_memory=str(entry.get("shared_memory") or ""),
        unix_sockets=str(entry.get("unix_sockets") or ""),
        environments=tuple(sorted(own | beside)),
        is_beside=not own,
    )


def _names(word: str) -> list[str]:
    """Return the named environments in a word.

    >>> _names("{python:tracking}"), _names("-m")
    (['tracking'], [])
    """
    return _INTERPRETER.findall(word)


def unpack(image: Image, root: Path, folder: int) -> None:
    """Fill a container's new root, open as `folder`, with what the image brings."""
    if image.root:
        shutil.copytree(image.root, root, dirs_exist_ok=True, symlinks=True)
    for path, source in image.packages.items():
        tree.write(folder, path, pack(source))


def pack(folder: Path) -> bytes:
    """Return a folder as .tgz whose bytes depend on names, contents and modes alone."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            if "__pycache__" in path.parts:
                continue
            entry = archive.gettarinfo(str(path), str(path.relative_to(folder)))
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    archive.addfile(entry, file)
            else:
                archive.addfile(entry)
    return gzip.compress(raw.getvalue(), mtime=0)
