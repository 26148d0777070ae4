"""Replace a file as a whole: a reader sees the old content or the new one, never a part of it."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Write a file that nobody may open beyond this mode; the umask takes from it."""
    _write(path, content, mode, is_durable=False)


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner can read, whole or not at all, and on the disk."""
    _write(path, content, 0o600, is_durable=True)


def _write(path: Path, content: str | bytes, mode: int, *, is_durable: bool) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
