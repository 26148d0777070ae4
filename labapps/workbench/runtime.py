"""Runtimes: the images in which jobs and models can run, and where images of builds are pushed."""

from __future__ import annotations

import os

from labapps.workbench.manifest import Images
from labapps.workbench.store import Record

__all__ = ["images", "runtimes"]

IMAGES = "labs/workbench:1.0,labs/training-engine:1.0,labs/notebook:1.0"


def runtimes() -> list[Record]:
    """Return the runtimes; WORKBENCH_RUNTIMES lists other images, the first is the default."""
    names = os.environ.get("WORKBENCH_RUNTIMES", IMAGES).split(",")
    return [
        {
            "image_identifier": name.strip(),
            "kernel": "Python 3.11",
            "edition": "Standard",
            "editor": "Workbench",
            "full_version": name.rpartition(":")[2].strip(),
            "status": "ENABLED",
        }
        for name in names
        if name.strip()
    ]


def images() -> Images | None:
    """Return where the images of builds are pushed; none without WORKBENCH_MODEL_IMAGES."""
    prefix = os.environ.get("WORKBENCH_MODEL_IMAGES", "").rstrip("/")
    if not prefix:
        return None
    # Here, because its HTTP client adds 0.1 s to the start of every workbench.
    from labapps.workbench.distribution import Name, RegistryError

    try:
        name = Name.parse(prefix)
    except RegistryError as problem:
        raise SystemExit(f"WORKBENCH_MODEL_IMAGES: {problem}") from problem
    plain = f"{name.host}/{name.repository}"
    if prefix.rpartition("://")[2] != plain:
        raise SystemExit(
            "WORKBENCH_MODEL_IMAGES must be <registry>/<name> without a tag, such as "
            f"registry.example.org/labs/models; found {prefix!r}."
        )
    for runtime in runtimes():
        try:
            Name.parse(str(runtime["image_identifier"]))
        except RegistryError as problem:
            raise SystemExit(
                "With WORKBENCH_MODEL_IMAGES the runtimes need their registry, in "
                f"WORKBENCH_RUNTIMES. {problem}"
            ) from problem
    return Images(prefix, os.environ.get("WORKBENCH_MODEL_IMAGES_SECRET", ""))
