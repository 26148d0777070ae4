"""Replace a file as a whole: a reader sees the old text or the new one, never a part of it.

Standard library only: the keeper imports this.
"""

from __future__ import annotations

import os

__all__ = ["replace", "write_private"]


def replace(path: str | os.PathLike[str], text: str, mode: int = 0o666) -> None:
    """Write a file that nobody may open beyond this mode; the umask takes from it."""
    _write(os.fspath(path), text, mode, is_durable=False)


def write_private(path: str | os.PathLike[str], text: str) -> None:
    """Write a file that only its owner can read, whole or not at all, and on the disk."""
    _write(os.fspath(path), text, 0o600, is_durable=True)


def _write(path: str, text: str, mode: int, *, is_durable: bool) -> None:
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
            if is_durable:
                file.flush()
                os.fsync(number)
        os.replace(draft, path)
    except OSError:
        if os.path.lexists(draft):
            os.unlink(draft)
        raise
