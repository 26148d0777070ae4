"""Merge what the use cases install, and name every conflict with its owners.

Each case says what it needs in requirements.txt, conda.yaml or python_env.yaml, as MLflow writes
them. `uv` says that no solution exists; this says which two use cases want what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from labregress.errors import BadMatrix
from labregress.locks import name_of

__all__ = ["Conflict", "Need", "conflicts", "containerfile", "merged", "read"]

FILES = ("requirements.txt", "conda.yaml", "python_env.yaml")


@dataclass(frozen=True)
class Need:
    """One requirement and the use case that has it."""

    owner: str
    name: str
    spec: str  # empty: any version

    @property
    def words(self) -> str:
        """Return owner and wish in words."""
        return f"{self.owner} wants {self.spec or 'any version'}"


@dataclass(frozen=True)
class Conflict:
    """A package for which no version suits all."""

    name: str
    needs: tuple[Need, ...]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(need.words for need in self.needs)}"


def read(folder: Path) -> list[Need]:
    """Return what a use case needs, from the files that its folder has."""
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files:
        raise BadMatrix(f"Expected one of {', '.join(FILES)} in {folder}, found none of them.")
    found: dict[tuple[str, str], Need] = {}
    for file in files:
        for line in _lines(file):
            try:
                wish = Requirement(line)
            except InvalidRequirement as error:
                raise BadMatrix(
                    f"Expected requirements such as `pandas<3` in {file}, found {line!r}: {error}."
                ) from error
            if wish.marker and not wish.marker.evaluate():
                continue
            need = Need(folder.name, name_of(wish.name), str(wish.specifier))
            found[need.name, need.spec] = need
    return list(found.values())


def _lines(file: Path) -> Iterator[str]:
    text = file.read_text("utf-8")
    if file.suffix != ".yaml":
        for line in text.splitlines():
            bare = re.sub(r"(^|\s)#.*", "", line).strip()
            if bare and not bare.startswith("-"):
                yield bare.rstrip("\\").strip()
        return
    table: Any = yaml.safe_load(text) or {}
    wishes = table.get("dependencies") or []
    for one in wishes:
        if isinstance(one, dict):
            yield from one.get("pip") or []
        elif file.name == "python_env.yaml" and not str(one).startswith("-"):
            yield str(one)
        elif file.name == "conda.yaml" and (pin := _conda(str(one))):
            yield pin


def _conda(word: str) -> str:
    """Return a conda dependency as pip writes it; Python itself is none.

    >>> _conda("scikit-learn=1.5.2"), _conda("python=3.11"), _conda("numpy>=2")
    ('scikit-learn==1.5.2', '', 'numpy>=2')
    """
    if name_of(word) in ("python", "pip"):
        return ""
    parts = re.match(r"^([\w.-]+)=([\w.]+)(?:=\S+)?$", word)
    return f"{parts[1]}=={parts[2]}" if parts else word


def conflicts(needs: Sequence[Need]) -> list[Conflict]:
    """Return every package for which no version suits all use cases.

    >>> found = conflicts([Need("new", "scikit-learn", "==1.9.1"), Need("old", "scikit-learn", "==1.5.2")])
    >>> print(found[0])
    scikit-learn: new wants ==1.9.1; old wants ==1.5.2
    >>> conflicts([Need("new", "numpy", ">=2"), Need("old", "numpy", "<2.5")])
    []
    """  # noqa: E501
    found = []
    for name in sorted({need.name for need in needs}):
        wishes = [need for need in needs if need.name == name and need.spec]
        if len({need.spec for need in wishes}) > 1 and not _suits_all(wishes):
            found.append(Conflict(name, tuple(_guilty(wishes))))
    return found


def _suits_all(wishes: Sequence[Need]) -> bool:
    sets = [SpecifierSet(need.spec) for need in wishes]
    return any(
        all(one.contains(version, prereleases=True) for one in sets)
        for version in _candidates(sets)
    )


def _candidates(sets: Sequence[SpecifierSet]) -> Iterator[Version]:
    """Yield a version at, below and above each one that is named: ranges change nowhere else."""
    for spec in (spec for one in sets for spec in one):
        try:
            named = Version(spec.version.removesuffix(".*"))
        except InvalidVersion:
            continue
        yield named
        release = [*named.release, 0, 0][: max(3, len(named.release))]
        yield Version(".".join(map(str, [*release, 1])))
        for at in range(len(release)):
            higher = [*release[:at], release[at] + 1]
            yield Version(".".join(map(str, higher)))
            if release[at]:
                yield Version(".".join(map(str, [*release[:at], release[at] - 1, 9999])))


def _guilty(wishes: Sequence[Need]) -> list[Need]:
    """Return those that conflict with another one; all when only the whole does."""
    pairs = [(a, b) for at, a in enumerate(wishes) for b in wishes[at + 1 :]]
    bad = {need for pair in pairs if not _suits_all(pair) for need in pair}
    return [need for need in wishes if need in bad] or list(wishes)


def merged(needs: Sequence[Need], mlflow: str = "") -> str:
    """Return one file of requirements, a comment behind each line that says who has it.

    A use case that only names `mlflow` would get today's when it is rebuilt, and another protocol
    with it: the merge pins it, or refuses.
    """
    loose = [need.owner for need in needs if need.name == "mlflow" and not need.spec]
    pinned = {need.spec for need in needs if need.name == "mlflow" and need.spec.startswith("==")}
    if loose and not mlflow and not pinned:
        raise BadMatrix(
            f"Expected a version of mlflow, found none in {', '.join(sorted(set(loose)))}: a "
            "rebuilt environment would get today's, and another protocol. Give it: --mlflow 3.17.2"
        )
    lines = []
    for name in sorted({need.name for need in needs}):
        own = [need for need in needs if need.name == name]
        specs = {part.strip() for need in own for part in need.spec.split(",") if part.strip()}
        if name == "mlflow" and mlflow:
            specs |= {f"=={mlflow}"}
        owners = ", ".join(sorted({need.owner for need in own}))
        lines.append(f"{name}{','.join(sorted(specs))}  # {owners}")
    return "\n".join(lines) + "\n"


def containerfile(python: str = "3.11") -> str:
    """Return the Containerfile of an image with the merged environment, built from its lock."""
    return f"""# Written by `labregress merge`; merged.lock and the use cases lie beside it.
ARG BASE=python:{python}-slim
FROM ${{BASE}}
ENV PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true
COPY merged.lock /opt/regress/merged.lock
RUN pip install --no-cache-dir --no-deps --require-hashes -r /opt/regress/merged.lock
RUN useradd --uid 10001 --create-home regress
USER 10001
WORKDIR /home/regress
COPY cases /opt/regress/cases
CMD ["python", "-c", "import mlflow; print(mlflow.__version__)"]
"""
