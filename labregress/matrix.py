"""The matrix: which versions, which cases, which protocols, and what is known of each."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labregress import locks
from labregress.errors import BadMatrix

__all__ = ["HERE", "LOCKS", "Case", "Cell", "Cure", "Matrix", "Version", "load"]

HERE = Path(__file__).resolve().parent
LOCKS = HERE.parent / "environments" / "regress"
PROTOCOLS = ("split-1x", "dataframe_split", "portable")


@dataclass(frozen=True)
class Version:
    """One release of MLflow, the pins of its era, and how it answers each protocol."""

    mlflow: str
    pins: tuple[str, ...]
    answers: dict[str, int]
    is_default: bool


@dataclass(frozen=True)
class Case:
    """One use case: a folder with train.py and requirements.txt."""

    name: str
    folder: Path

    @property
    def text(self) -> bytes:
        """Return all that decides what the case does."""
        files = sorted(file for file in self.folder.iterdir() if file.is_file())
        return b"".join(file.name.encode() + b"\0" + file.read_bytes() for file in files)


@dataclass(frozen=True)
class Cure:
    """What is known to help when an error's first line holds a text."""

    match: str
    cure: str


@dataclass(frozen=True)
class Cell:
    """One case at one version; its rows are the protocols."""

    version: Version
    case: Case
    lock: locks.Lock
    protocols: tuple[str, ...]

    @property
    def id(self) -> str:
        """Return the cell's name, which is also that of its folder."""
        return f"{self.version.mlflow}-{self.case.name}"

    @property
    def fingerprint(self) -> str:
        """Return the digest of all that decides the result: a result with another one is old."""
        driver = (HERE / "driver.py").read_bytes()
        said = hashlib.sha256(self.lock.text.encode() + self.case.text + driver)
        said.update(repr((sorted(self.version.answers.items()), self.protocols)).encode())
        return said.hexdigest()[:16]


@dataclass(frozen=True)
class Matrix:
    """What versions.toml says."""

    versions: tuple[Version, ...]
    cases: tuple[Case, ...]
    cures: tuple[Cure, ...]
    locked: dict[str, tuple[str, ...]]  # the pins that the committed locks were resolved with

    def cells(
        self,
        versions: list[str] | None = None,
        cases: list[str] | None = None,
        protocols: tuple[str, ...] = PROTOCOLS,
        *,
        everything: bool = False,
        folder: Path = LOCKS,
    ) -> list[Cell]:
        """Return the cells of a run: those named, or the default ones."""
        known = {one.mlflow: one for one in self.versions}
        wanted = versions or [v.mlflow for v in self.versions if v.is_default or everything]
        chosen = [_pick(known, name, "version") for name in wanted]
        by_name = {one.name: one for one in self.cases}
        names = cases or list(by_name)
        found = []
        for version in chosen:
            kept = {locks.name_of(pin) for pin in version.pins}
            pins = {locks.name_of(pin): pin for pin in self.locked[version.mlflow]}
            if unknown := [pin for pin in version.pins if pin not in pins.values()]:
                raise BadMatrix(
                    f"Expected the pins of {version.mlflow} to be among {sorted(pins.values())}, "
                    f"found {unknown}. Add them to labregress/versions.toml and type "
                    "`labregress lock`."
                )
            lock = locks.read(folder, version.mlflow, sorted(set(pins) - kept))
            found += [
                Cell(version, _pick(by_name, name, "case"), lock, protocols) for name in names
            ]
        return found


def _pick(known: dict[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise BadMatrix(f"Expected a {what}, found {name!r}. There are: {', '.join(known)}.")
    return known[name]


def load(file: Path = HERE / "versions.toml", cases: Path = HERE / "cases") -> Matrix:
    """Read a matrix; another file than the committed one may leave out pins."""
    try:
        table = tomllib.loads(file.read_text("utf-8"))
        versions = tuple(
            Version(one["mlflow"], tuple(one.get("pins", ())), dict(one["answers"]),
                    bool(one.get("default", False)))
            for one in table["version"]
        )  # fmt: skip
        cures = tuple(Cure(one["match"], one["cure"]) for one in table.get("known", ()))
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadMatrix(
            f"Expected [[version]] entries with `mlflow` and `answers` in {file}, found: {error!r}."
        ) from error
    found = tuple(Case(one.name, one) for one in sorted(cases.iterdir()) if one.is_dir())
    ours = tomllib.loads((HERE / "versions.toml").read_text("utf-8"))["version"]
    locked = {one["mlflow"]: tuple(one.get("pins", ())) for one in ours}
    for one in versions:
        _pick(locked, one.mlflow, "version that has a lock")
    return Matrix(versions, found, cures, locked)
