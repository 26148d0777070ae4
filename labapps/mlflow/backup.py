"""Copies of what a tracking server keeps, made while it runs, and the way back.

A backup is a folder of the project repository: both databases, the artefacts, and a list of all
files with their digests. SQLite's own backup copies a database that is being written to. The
artefacts are copied after it, so each file that the copied database names is there.

A restore is checked and laid ready by a command beside the server; the server then ends, and takes
it over when its container starts again: nobody exchanges a database that a process has open.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labapps.member.configmeta import Configmeta
from labapps.member.place import Place
from labapps.mlflow import schema, store

__all__ = ["Backup", "BackupError", "backups", "is_laid_ready", "lay_ready", "save", "take_over"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
LIST = "backup.json"
ARTIFACTS = "artifacts"
BEFORE = ".before-restore"


class BackupError(Exception):
    """A backup cannot be made or used; the text says why and what to type."""


@dataclass(frozen=True)
class Backup:
    """One backup: where it lies and what its list says."""

    folder: Path
    made: str
    release: str
    revision: str
    digests: dict[str, str]

    @property
    def name(self) -> str:
        return self.folder.name


def home(place: Place, meta: Configmeta) -> Path:
    """Return the folder of a server's backups."""
    return place.repository / "mlflow-backups" / (meta.cluster or "server")


def databases(place: Place) -> list[Path]:
    return [store.database(place), store.journal(place)]


def save(place: Place, meta: Configmeta, name: str) -> Backup:
    """Copy databases and artefacts while the server runs; a backup is there as a whole, or not."""
    if not NAME.fullmatch(name):
        raise BackupError(
            f"Expected a name of letters, digits, dots and dashes; found {name!r}. "
            "Type one such as 2026-11-29."
        )
    folder = home(place, meta) / name
    if folder.exists():
        raise BackupError(f"A backup {name} is there already. Type another name.")
    part = folder.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in databases(place):
        _copy_database(path, part / path.name)
    artifacts = store.artifacts(place, meta)
    if artifacts.is_dir():
        shutil.copytree(artifacts, part / ARTIFACTS)
    found = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlflow": store.version(),
        "schema": schema.revision(part / store.database(place).name),
        "files": {str(one.relative_to(part)): _digest(one) for one in _files(part)},
    }
    (part / LIST).write_text(json.dumps(found, indent=1))
    part.rename(folder)
    return read(folder)


def backups(place: Place, meta: Configmeta) -> list[Backup]:
    """Return the backups of a server, the oldest first."""
    found = [read(one.parent) for one in home(place, meta).glob(f"[!.]*/{LIST}")]
    return sorted(found, key=lambda one: one.made)


def read(folder: Path) -> Backup:
    """Read a backup's list."""
    try:
        found: dict[str, Any] = json.loads((folder / LIST).read_text())
        digests = {str(path): str(digest) for path, digest in found["files"].items()}
        return Backup(folder, str(found["made"]), found["mlflow"], found["schema"], digests)
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise BackupError(
            f"Expected a backup in {folder}, found none that can be read ({error}). "
            "Type `python -m labapps.mlflow backups` to list those there are."
        ) from error


def check(backup: Backup) -> None:
    """Compare all files of a backup with its list."""
    present = {str(one.relative_to(backup.folder)) for one in _files(backup.folder)} - {LIST}
    wrong = sorted(
        {*present ^ backup.digests.keys()}
        | {one for one in present & backup.digests.keys() if _differs(backup, one)}
    )
    if wrong:
        raise BackupError(
            f"Expected backup {backup.name} as it was made, found {len(wrong)} files that are "
            f"missing, new or changed, such as {wrong[0]}. Take another backup."
        )
    if not schema.is_known(backup.revision):
        raise BackupError(
            f"Expected a database that MLflow {store.version()} can read, found one of release "
            f"{backup.release}. Order the application in that version, or a newer one."
        )


def lay_ready(place: Place, meta: Configmeta, name: str) -> Backup:
    """Check a backup, bring its artefacts back, and lay its databases ready for the next start.

    Artefacts that were written after the backup stay where they are; no database names them.
    """
    if not NAME.fullmatch(name):
        raise BackupError(f"Expected the name of a backup, found {name!r}.")
    backup = read(home(place, meta) / name)
    check(backup)
    if (backup.folder / ARTIFACTS).is_dir():
        shutil.copytree(backup.folder / ARTIFACTS, store.artifacts(place, meta), dirs_exist_ok=True)
    ready = _ready(place)
    part = ready.with_name(f"{ready.name}.part")
    for folder in (part, ready):
        shutil.rmtree(folder, ignore_errors=True)
    part.mkdir(parents=True)
    for path in databases(place):
        if path.name in backup.digests:
            shutil.copyfile(backup.folder / path.name, part / path.name)
    part.rename(ready)
    return backup


def is_laid_ready(place: Place) -> bool:
    """Tell whether a restore waits for the next start."""
    return _ready(place).is_dir()


def take_over(place: Place) -> bool:
    """Exchange the databases for those laid ready; nobody has them open. Goes on where it broke."""
    if not is_laid_ready(place):
        return False
    for path in databases(place):
        new = _ready(place) / path.name
        if not new.is_file():
            continue
        if path.is_file():
            _fold_in(path)
            os.replace(path, path.with_name(path.name + BEFORE))
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        os.replace(new, path)
    shutil.rmtree(_ready(place))
    return True


def _ready(place: Place) -> Path:
    return store.database(place).with_name("restore")


def _copy_database(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    with (
        contextlib.closing(sqlite3.connect(source)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


def _fold_in(path: Path) -> None:
    """Write what is in the log of a database into its file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _files(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file() and not one.is_symlink()]


def _differs(backup: Backup, path: str) -> bool:
    return _digest(backup.folder / path) != backup.digests[path]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
