"""Read labs.toml, the only list of labs, and answer what follows from it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labrunner import workshop
from labrunner.errors import BadCurriculum, UnknownLab
from labrunner.workshop import Workshop

KINDS = ("lab", "page")
LISTS = ("needs", "after", "environment")


@dataclass(frozen=True)
class Lab:
    """One entry of labs.toml."""

    id: str
    file: str
    title: str
    level: str
    minutes: int
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    platform: bool = False
    kind: str = "lab"
    set: Mapping[str, Any] = field(default_factory=dict)
    excused: Mapping[str, str] = field(default_factory=dict)
    environment: tuple[str, ...] = ()

    @property
    def workshop(self) -> str:
        """Return the id of this lab's workshop; empty for a page of all of them."""
        return workshop.of(self.id)

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
    workshops: tuple[Workshop, ...] = ()

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

    def workshop(self, workshop_id: str) -> Workshop:
        """Return the workshop with this id."""
        for found in self.workshops:
            if found.id == workshop_id:
                return found
        known = ", ".join(found.id for found in self.workshops) or "none"
        raise UnknownLab(
            f"Expected the id of a workshop, found {workshop_id!r}. There are: {known}."
        )

    def labs_of(self, workshop_id: str) -> tuple[Lab, ...]:
        """Return the labs of a workshop, in order; those of all of them for an empty id."""
        if workshop_id:
            self.workshop(workshop_id)
        return tuple(lab for lab in self.labs if lab.workshop == workshop_id)

    def titles(self) -> dict[str, str]:
        """Return the title of each lab's workshop, by the lab's id."""
        return {lab.id: found.title for found in self.workshops for lab in self.labs_of(found.id)}

    def groups(self) -> list[tuple[Workshop | None, tuple[Lab, ...]]]:
        """Return the labs by workshop; first those that belong to none of them."""
        listed = {found.id for found in self.workshops}
        general = tuple(lab for lab in self.labs if lab.workshop not in listed)
        found = [(None, general)] if general else []
        return [*found, *((one, self.labs_of(one.id)) for one in self.workshops)]

    def pick(
        self, only: Iterable[str] = (), first: str | None = None, workshop: str | None = None
    ) -> tuple[Lab, ...]:
        """Return the labs to run, in order: some, all from one on, or a workshop and its needs."""
        wanted = {self.get(lab_id).id for lab_id in only}
        if workshop is not None:
            needed = {need.id for lab in self.labs_of(workshop) for need in self.with_needs(lab)}
            narrowed = Curriculum(
                self.root, tuple(lab for lab in self.labs if lab.id in needed), self.workshops
            )
            return narrowed.pick(only, first)
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
        """Return the lab before and the lab after, in the same workshop."""
        own = lab.workshop or next((one.workshop for one in self.labs if one.workshop), "")
        row = [one for one in self.labs if one.workshop in ("", own)]
        at = row.index(lab)
        following = row[at + 1] if at + 1 < len(row) else None
        return (row[at - 1] if at else None), following


def load(root: Path | None = None) -> Curriculum:
    """Read labs.toml of a checkout and refuse one that does not hold together."""
    root = root or Path(__file__).resolve().parent.parent
    try:
        with (root / "labs.toml").open("rb") as file:
            document = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadCurriculum(
            f"Expected the list of labs in {root / 'labs.toml'}: {error}."
        ) from error
    labs: list[Lab] = []
    for entry in document.get("lab", []):
        labs.append(_lab(entry, {lab.id for lab in labs}))
    workshops = workshop.read(document.get("workshop", []))
    strangers = {lab.workshop for lab in labs} - {"", *(found.id for found in workshops)}
    if workshops and strangers:
        raise BadCurriculum(f"labs.toml: no [[workshop]] has the id {sorted(strangers)}.")
    return Curriculum(root, tuple(labs), workshops)


def _lab(entry: dict[str, Any], before: set[str]) -> Lab:
    where = f"labs.toml, lab {entry.get('id', '?')!r}"
    unknown = set(entry) - set(Lab.__dataclass_fields__)
    if unknown:
        raise BadCurriculum(f"{where}: unknown key {sorted(unknown)}; see the head of labs.toml.")
    try:
        for key in LISTS:
            if isinstance(entry.get(key), str):
                raise BadCurriculum(f'{where}: expected {key} = ["{entry[key]}"], found a text.')
        lists = {key: tuple(entry.get(key, ())) for key in LISTS}
        lab = Lab(**{**entry, **lists})
    except TypeError as error:
        raise BadCurriculum(f"{where}: a key is missing ({error}).") from error
    if lab.id in before:
        raise BadCurriculum(f"{where}: this id stands there twice.")
    if missing := [other for other in (*lab.needs, *lab.after) if other not in before]:
        raise BadCurriculum(f"{where}: names {missing}, which must stand above it.")
    if lab.kind not in KINDS:
        raise BadCurriculum(f"{where}: kind is one of {KINDS}, found {lab.kind!r}.")
    return lab
