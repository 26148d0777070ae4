"""Tell the start script how far the application is.

`/run/labapps/applied` holds the md5 of the configmeta.json that is in force, and behind it a line
for each thing that is wrong. `startscript` compares it with `md5sum` of the file, so it needs no
port, no signal and no Python.
"""

from __future__ import annotations

from collections.abc import Iterable

from labapps import files
from labapps.member.place import Place

__all__ = ["APPLIED", "forget", "report"]

APPLIED = "/run/labapps/applied"


def report(place: Place, digest: str, complaints: Iterable[str] = ()) -> None:
    """Write atomically that `digest` is in force, and what is wrong with it."""
    lines = [digest, *(" ".join(c.split()) for c in complaints)]
    files.replace(place.path(APPLIED), "\n".join(lines) + "\n")


def forget(place: Place) -> None:
    """Remove what an earlier run of the application left."""
    place.path(APPLIED).unlink(missing_ok=True)
