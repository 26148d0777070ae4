"""Resolve the locks of the matrix: each version with its pins, and with each pin taken out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from labregress import environments, locks, merge
from labregress.errors import BuildFailed
from labregress.matrix import LOCKS, Matrix, Version

__all__ = ["resolve"]


def resolve(
    matrix: Matrix, versions: list[str], folder: Path = LOCKS, tell: Callable[[str], None] = print
) -> None:
    """Write the locks of these versions, or of all."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in matrix.versions:
        if versions and version.mlflow not in versions:
            continue
        whole = compiled(requirements(matrix, version, version.pins))
        (folder / f"{version.mlflow}.lock").write_text(whole.text)
        for old in folder.glob(f"{version.mlflow}.without-*.lock"):
            old.unlink()
        for pin in version.pins:
            name = locks.name_of(pin)
            pins = tuple(one for one in version.pins if one != pin)
            without = compiled(requirements(matrix, version, pins))
            file = folder / f"{version.mlflow}.without-{name}.lock"
            file.write_text(locks.difference(whole, without))
        tell(f"mlflow {version.mlflow}: {len(whole.entries)} packages, {len(version.pins)} pins")


def requirements(matrix: Matrix, version: Version, pins: tuple[str, ...]) -> str:
    """Return what one environment for all cases of a version needs."""
    needs = [need for case in matrix.cases for need in merge.read(case.folder)]
    return merge.merged(needs, version.mlflow) + "\n".join(pins) + "\n"


def compiled(text: str) -> locks.Lock:
    """Resolve requirements to a lock with hashes."""
    uv = environments.find_uv()
    if uv is None:
        raise BuildFailed("Expected uv to resolve a lock, found none. Type `make setup`.")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "all.in", Path(folder) / "all.lock"
        source.write_text(text)
        words = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
        files = ["--no-annotate", str(source), "--output-file", str(target)]
        environments.run_uv([uv, "pip", "compile", "--quiet", *words, *files])
        return locks.parse(target.read_text("utf-8"))
