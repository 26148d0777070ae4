"""Replace a file as a whole: a reader sees the old text or the new one, never a part of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

__all__ = ["replace"]


def replace(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file that nobody may open beyond this mode; make its folder when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
