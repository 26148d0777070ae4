"""The named environments: what only runs as a service, or a foreign case, has a lock of its own.

`environments/<name>.in` is the source, `environments/<name>.lock` what `make lock` makes of it. An
environment is installed when somebody first needs it; afterwards nothing downloads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from labrunner import install
from labrunner.errors import LabError
from labspark.place import cache


@dataclass(frozen=True)
class Environment:
    """One named environment: its name, where it is or will be, and the state it is in."""

    name: str
    folder: Path
    download: str
    is_installed: bool

    @property
    def state(self) -> str:
        """Return the state in words."""
        if self.is_installed:
            return f"installed in {self.folder}"
        return f"not installed; it downloads {self.download}"


def names(root: Path) -> list[str]:
    """Return the names of all environments that have a lock."""
    return sorted(path.stem for path in (root / "environments").glob("*.lock"))


def folder_of(root: Path, name: str) -> Path:
    """Return where an environment is installed: beside `.venv`, or in the cache."""
    beside = root / f".venv-{name}"
    is_ours = os.access(beside if beside.exists() else root, os.W_OK)
    return beside if is_ours else cache() / "environments" / name


def find(root: Path, name: str) -> Environment:
    """Return one environment and its state."""
    known = names(root)
    if name not in known:
        raise LabError(
            f"Expected the name of an environment, found {name!r}. "
            f"There are: {', '.join(known) or 'none'}."
        )
    folder = folder_of(root, name)
    is_installed = install.is_current(folder, install.digest_of(root, name))
    return Environment(name, folder, install.download_of(root, name), is_installed)


def missing_packages(root: Path, workshops: Iterable[str]) -> list[str]:
    """Return which of these workshops have packages of their own that `.venv` was made without."""
    venv = root / ".venv"
    if Path(sys.prefix) != venv or not install.parts_in(venv):
        return []  # conda's, an image's or an older set-up's: it has the whole lock
    return sorted(set(workshops) & install.extras_of(root) - install.extras_in(venv))


def require_packages(root: Path, workshops: Iterable[str]) -> None:
    """Refuse labs whose packages are not installed, and say what to type."""
    if missing := missing_packages(root, workshops):
        names = ",".join(missing)
        raise LabError(
            f"Expected the packages of {' and '.join(missing)}, which were left out at set-up. "
            f"Type `make setup WORKSHOPS={names}` (it downloads {install.more_of(missing)})."
        )


def ensure(root: Path, wanted: Iterable[str], tell: Callable[[str], None]) -> None:
    """Install the wanted environments that are missing or out of date, and say so."""
    for name in wanted:
        found = find(root, name)
        if found.is_installed:
            continue
        found.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            install.ensure(root, found.folder, name)
        except install.SetupFailed as error:
            raise LabError(str(error)) from error
        tell(f"The environment {name} is installed in {found.folder}.")
