"""The layer of a build's image: folders as an archive whose bytes depend on the files alone."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, cast

from labapps.workbench import copies
from labapps.workbench.files import DEEPEST
from labapps.workbench.refusal import conflict

__all__ = ["Layer", "write"]


@dataclass
class Layer:
    """What was written: its digest as it is stored, and as it is unpacked."""

    digest: str = ""
    diff_id: str = ""
    size: int = 0
    files: int = 0


@dataclass
class Hashed:
    """A file that is written or read, and the digest of what went by."""

    file: IO[bytes]
    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def write(self, piece: bytes) -> int:
        self._note(piece)
        return self.file.write(piece)

    def read(self, count: int = -1) -> bytes:
        piece = self.file.read(count)
        self._note(piece)
        return piece

    def _note(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.size += len(piece)

    def flush(self) -> None:
        self.file.flush()


def write(target: IO[bytes], folders: Sequence[tuple[str, int]]) -> tuple[Layer, dict[str, str]]:
    """Write open folders as a layer, each below a path; return the digests of their files.

    Names are sorted and belong to root at the beginning of time, so the same files are the same
    bytes. Who writes in a folder meanwhile can put no link to a file of this pod into the layer.
    """
    layer, found = Layer(), dict[str, str]()
    packed = Hashed(target)
    # Without a name and a moment in its head.
    with gzip.GzipFile("", "wb", 6, cast(IO[bytes], packed), mtime=0) as zipped:
        plain = Hashed(cast(IO[bytes], zipped))
        # The name of a file is bytes: this form keeps those that are not UTF-8.
        with tarfile.open(
            fileobj=cast(IO[bytes], plain),
            mode="w|",
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        ) as tar:
            made = set[str]()
            for path, folder in folders:
                parts = path.split("/")
                for count in range(1, len(parts) + 1):
                    if (name := "/".join(parts[:count])) not in made:
                        made.add(name)
                        tar.addfile(entry(name, stat.S_IFDIR | 0o755))
                for name, digest in members(tar, folder, path, 0):
                    found[name] = digest
    layer.digest = f"sha256:{packed.digest.hexdigest()}"
    layer.diff_id = f"sha256:{plain.digest.hexdigest()}"
    layer.size, layer.files = packed.size, len(found)
    return layer, found


def members(tar: tarfile.TarFile, folder: int, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Add what is in an open folder; yield each file's path and digest."""
    if depth > DEEPEST:
        raise conflict(f"{path} is more than {DEEPEST} folders deep; keep it elsewhere.")
    for name in sorted(os.listdir(folder)):
        if name in copies.SKIPPED:
            continue
        below = f"{path}/{name}"
        with copies.unless_swapped():
            kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                with copies.opened(name, folder) as inner:
                    tar.addfile(entry(below, stat.S_IFDIR | 0o755))
                    yield from members(tar, inner, below, depth + 1)
            elif stat.S_ISREG(kind):
                with copies.opened(name, folder, os.O_RDONLY | os.O_NONBLOCK) as number:
                    seen = os.fstat(number)
                    if not stat.S_ISREG(seen.st_mode):
                        continue
                    with open(number, "rb", closefd=False) as file:
                        read = Hashed(file)
                        tar.addfile(entry(below, seen.st_mode, seen.st_size), cast(IO[bytes], read))
                    yield below, read.digest.hexdigest()


def entry(name: str, mode: int, size: int = 0) -> tarfile.TarInfo:
    """Return the head of a file or folder in the layer."""
    found = tarfile.TarInfo(name)
    found.type = tarfile.DIRTYPE if stat.S_ISDIR(mode) else tarfile.REGTYPE
    found.mode = 0o755 if mode & 0o100 else 0o644
    found.size = size
    return found
