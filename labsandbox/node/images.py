"""Image name -> program: what `catalog/images.toml` says an image is on this machine."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import tarfile
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path


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


class UnknownImage(Exception):
    """No program is known for an image name."""


class Images:
    """The catalogue of images, read again when its file changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: int | None = None
        self._images: dict[str, Image] = {}

    def known(self) -> dict[str, Image]:
        """Return all images by name pattern."""
        changed = self.path.stat().st_mtime_ns
        if changed != self._read_at:
            with self.path.open("rb") as file:
                table = tomllib.load(file).get("images", {})
            base = self.path.resolve().parent.parent
            self._images = {name: _image(name, entry, base) for name, entry in table.items()}
            self._read_at = changed
        return self._images

    def find(self, name: str) -> Image:
        """Return the image a container names; raise UnknownImage with the known names."""
        known = self.known()
        short = normalise(name)
        if short in known:
            return known[short]
        for pattern, image in known.items():
            if fnmatchcase(short, normalise(pattern)):
                return image
        raise UnknownImage(
            f'no program is known for image "{name}"; known images: {", ".join(sorted(known))}; '
            f"use one of them or add it to {self.path.name}"
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
        assert isinstance(value, list)
        return tuple(str(word).replace("{python}", sys.executable) for word in value)

    root, packages, env = entry.get("root"), entry.get("packages") or {}, entry.get("env") or {}
    assert isinstance(packages, dict)
    assert isinstance(env, dict)
    return Image(
        name=name,
        command=words("command"),
        args=words("args"),
        root=base / str(root) if root else None,
        packages={str(path): base / str(folder) for path, folder in packages.items()},
        env={str(k): str(v) for k, v in env.items()},
        read=tuple(str(base / word) for word in words("read")),
    )


def unpack(image: Image, root: Path) -> None:
    """Fill a container's root with what the image brings."""
    if image.root:
        shutil.copytree(image.root, root, dirs_exist_ok=True, symlinks=True)
    for path, folder in image.packages.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pack(folder))


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
