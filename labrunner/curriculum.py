"""Read labs.toml, the only list of labs, and answer what follows from it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labrunner.errors import BadCurriculum, UnknownLab

KINDS = ("lab", "page")


@dataclass(frozen=True)
class Lab:
    """One entry of labs.toml."""

    id: str
    file: str
    title: str
    level: str
    minutes: int
    needs: tuple[str, ...] = ()
    platform: bool = False
    kind: str = "lab"
    set: Mapping[str, Any] = field(default_factory=dict)
    excused: Mapping[str, str] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Return the text of the notebook's first heading."""
        return (
            f"Lab {self.id.replace('/', '-')}: {self.title}" if self.kind == "lab" else self.title
        )


@dataclass(frozen=True)
class Curriculum:
    """All labs in their order, and where they lie."""

    root: Path
    labs: tuple[Lab, ...]

    def source(self, lab: Lab) -> Path:
        """Return the percent-format file that authors edit."""
        return self.root / "notebooks" / "_src" / f"{lab.file}.py"

    def notebook(self, lab: Lab) -> Path:
        """Return the notebook that learners open."""
        return self.root / "notebooks" / f"{lab.file}.ipynb"

    def get(self, lab_id: str) -> Lab:
        """Return the lab with this id, forgiving `core-03` and the file's name."""
        for lab in self.labs:
            if lab_id in (lab.id, lab.id.replace("/", "-"), lab.file, Path(lab.file).name):
                return lab
        known = ", ".join(lab.id for lab in self.labs)
        raise UnknownLab(f"Expected the id of a lab, found {lab_id!r}. There are: {known}.")

    def pick(self, only: Iterable[str] = (), first: str | None = None) -> tuple[Lab, ...]:
        """Return the labs to run, in order: some, or all from one on."""
        wanted = {self.get(lab_id).id for lab_id in only}
        labs = self.labs
        if first is not None:
            labs = labs[labs.index(self.get(first)) :]
        return tuple(lab for lab in labs if not wanted or lab.id in wanted)

    def with_needs(self, lab: Lab) -> tuple[Lab, ...]:
        """Return what must run before a lab, then the lab."""
        before: dict[str, Lab] = {}

        def visit(current: Lab) -> None:
            for need in current.needs:
                visit(self.get(need))
            before.setdefault(current.id, current)

        visit(lab)
        return tuple(before.values())

    def neighbours(self, lab: Lab) -> tuple[Lab | None, Lab | None]:
        """Return the lab before and the lab after."""
        at = self.labs.index(lab)
        following = self.labs[at + 1] if at + 1 < len(self.labs) else None
        return (self.labs[at - 1] if at else None), following


def load(root: Path | None = None) -> Curriculum:
    """Read labs.toml of a checkout and refuse one that does not hold together."""
    root = root or Path(__file__).resolve().parent.parent
    try:
        with (root / "labs.toml").open("rb") as file:
            entries = tomllib.load(file).get("lab", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadCurriculum(
            f"Expected the list of labs in {root / 'labs.toml'}: {error}."
        ) from error
    labs: list[Lab] = []
    for entry in entries:
        labs.append(_lab(entry, {lab.id for lab in labs}))
    return Curriculum(root, tuple(labs))


def _lab(entry: dict[str, Any], before: set[str]) -> Lab:
    where = f"labs.toml, lab {entry.get('id', '?')!r}"
    unknown = set(entry) - set(Lab.__dataclass_fields__)
    if unknown:
        raise BadCurriculum(f"{where}: unknown key {sorted(unknown)}; see the head of labs.toml.")
    try:
        lab = Lab(**{**entry, "needs": tuple(entry.get("needs", ()))})
    except TypeError as error:
        raise BadCurriculum(f"{where}: a key is missing ({error}).") from error
    if lab.id in before:
        raise BadCurriculum(f"{where}: this id stands there twice.")
    if missing := [need for need in lab.needs if need not in before]:
        raise BadCurriculum(f"{where}: needs {missing}, which must stand above it.")
    if lab.kind not in KINDS:
        raise BadCurriculum(f"{where}: kind is one of {KINDS}, found {lab.kind!r}.")
    return lab
