"""A workshop is data: labs.toml says what it is, what it needs, and what a learner of it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labrunner.errors import BadCurriculum

__all__ = ["Workshop", "of", "read"]

LIMITS = ("cells", "code_lines", "words_per_line", "steps")


@dataclass(frozen=True)
class Workshop:
    """One entry `[[workshop]]` of labs.toml."""

    id: str
    title: str
    sentence: str
    applications: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    learner: Mapping[str, str] = field(default_factory=dict)
    notebook: Mapping[str, str] = field(default_factory=dict)
    extra_pods: int = 0
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def limit(self, name: str, usual: tuple[int, int]) -> tuple[int, int]:
        """Return the least and the most that a lab of this workshop has, or what is usual."""
        return self.limits.get(name, usual)

    @property
    def most_pods(self) -> int:
        """Return how many pods a learner has while a lab scales one of them."""
        return int(self.learner.get("pods", "0")) + self.extra_pods


def read(entries: Iterable[Mapping[str, Any]]) -> tuple[Workshop, ...]:
    """Read the workshops of labs.toml and refuse one that does not hold together."""
    found: dict[str, Workshop] = {}
    for entry in entries:
        where = f"labs.toml, workshop {entry.get('id', '?')!r}"
        if unknown := set(entry) - set(Workshop.__dataclass_fields__):
            raise BadCurriculum(
                f"{where}: unknown key {sorted(unknown)}; see the head of labs.toml."
            )
        lists = {
            key: tuple(entry.get(key, ())) for key in ("applications", "shared", "environment")
        }
        limits = {name: tuple(pair) for name, pair in entry.get("limits", {}).items()}
        if wrong := [name for name, pair in limits.items() if name not in LIMITS or len(pair) != 2]:
            raise BadCurriculum(f"{where}: expected limits {LIMITS}, each [least, most]: {wrong}.")
        try:
            workshop = Workshop(**{**entry, **lists, "limits": limits})
        except TypeError as error:
            raise BadCurriculum(f"{where}: a key is missing ({error}).") from error
        if workshop.id in found:
            raise BadCurriculum(f"{where}: this id stands there twice.")
        if apart := set(workshop.shared) - set(workshop.applications):
            raise BadCurriculum(f"{where}: shares {sorted(apart)}, which it does not need.")
        found[workshop.id] = workshop
    return tuple(found.values())


def of(lab_id: str) -> str:
    """Return the id of the workshop that a lab belongs to; empty for a page of all of them.

    >>> of("core/03"), of("start")
    ('core', '')
    """
    return lab_id.rpartition("/")[0]
