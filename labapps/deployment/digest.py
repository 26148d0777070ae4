"""Compare a model's files with the digests its ConfigMap names, before anything of them is loaded.

It finds a file that was replaced since it was registered. It does not replace the rights on the
project repository: who may write there at any moment may also write between the look and the load.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["KEYS", "DigestMismatch", "verify"]

KEYS = {"path": "model-digest", "scoring-path": "scoring-digest"}


class DigestMismatch(ValueError):
    """A file is not the one that was registered."""


def verify(digests: Iterable[tuple[str, str]]) -> None:
    """Compare files with their SHA-256, with or without `sha256:` before the digits."""
    for file, wanted in digests:
        with Path(file).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != wanted.lower().removeprefix("sha256:"):
            raise DigestMismatch(
                f"expected {Path(file).name} to have the SHA-256 digest {wanted}; found {found}. "
                "The file was replaced since it was registered: put the registered file back, or "
                "register this one with its own digest"
            )
