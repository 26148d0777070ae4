"""The learner's own copies of the labs: outside git, so that running a lab changes no checkout.

A copy that was never changed follows each release. One that was run or edited stays as it is; the
learner is told that a new release waits, and `labs open LAB --start-over` puts the old copy aside.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labrunner import files, practice, release
from labrunner.curriculum import Curriculum, Lab
from labrunner.errors import LabError

RECORD = ".released.json"


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the learner's copies lie: LABS_FOLDER, else below LABS_HOME, else in the home.

    >>> folder({"LABS_HOME": "/data/ann"})
    PosixPath('/data/ann/labs')
    """
    if named := environment.get("LABS_FOLDER"):
        return Path(named)
    if home := environment.get("LABS_HOME"):
        return Path(home) / "labs"
    return Path.home() / "labs" / "house-on-the-lake"


@dataclass(frozen=True)
class Copies:
    """The copies of one learner."""

    curriculum: Curriculum
    folder: Path

    def notebook(self, lab: Lab, *, practice: bool = False) -> Path:
        """Return the learner's copy of a lab."""
        return self.folder / _name(lab, practice)

    def released(self) -> dict[str, bytes]:
        """Return what learners get: what is released, and practice copies of labs with blanks."""
        found = release.files(self.curriculum.root)
        for lab in self.curriculum.labs:
            text = found.get(_name(lab), b'{"cells": []}').decode()
            if practice.has_blanks(text):
                found[_name(lab, True)] = practice.copy_of(text).encode()
        return found

    def path(self, lab: Lab, *, practice: bool = False) -> str:
        """Return where the copy of a lab is below the folder, as addresses spell it."""
        return _name(lab, practice)

    def has_practice(self, lab: Lab) -> bool:
        """Tell whether a lab has a practice copy."""
        return _name(lab, True) in self.released()

    def require_practice(self, lab: Lab) -> None:
        """Raise where a lab has no practice copy."""
        if not self.has_practice(lab):
            having = ", ".join(one.id for one in self.curriculum.labs if self.has_practice(one))
            raise LabError(
                f"Expected a lab with a practice copy, found {lab.id}, which has no cells to fill "
                f"in. Labs that have some: {having or 'none'}."
            )

    def refresh(self) -> list[Lab]:
        """Bring what is missing and what was never changed up to date; return what waits."""
        if (self.folder / ".git").exists():  # a class's repository: nbgitpuller brings the labs
            return []
        released, known = self.released(), read(self.folder)
        try:
            kept = {name: self._bring(name, content, known) for name, content in released.items()}
            for name in known.keys() - released.keys():
                self._withdraw(name, known[name])
            _write(self.folder / RECORD, json.dumps(kept, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise LabError(
                f"Expected a folder for your copies of the labs at {self.folder}, found: "
                f"{error.strerror or error}. Free some space, or set LABS_FOLDER to another folder."
            ) from error
        return [lab for lab in self.curriculum.labs if is_waiting(kept, lab)]

    def _bring(self, name: str, content: bytes, known: Mapping[str, Any]) -> dict[str, str]:
        """Write one file unless the learner changed it; return which release their copy is of."""
        path, released = self.folder / name, _digest(content)
        copied = str(known.get(name, {}).get("copied", ""))
        there = _digest(path.read_bytes()) if path.is_file() else ""
        is_theirs = there not in ("", released, copied) and name.endswith(".ipynb")
        if not is_theirs:
            if there != released:
                _write(path, content)
            copied = released
        return {"copied": copied, "released": released}

    def _withdraw(self, name: str, known: Mapping[str, str]) -> None:
        """Remove a file that is released no more, unless the learner changed it."""
        path = self.folder / name
        if path.is_file() and _digest(path.read_bytes()) == known.get("copied"):
            path.unlink()

    def start_over(self, lab: Lab, *, practice: bool = False) -> Path | None:
        """Put the copy aside and bring the released one; return the new name of the old one."""
        name, released = _name(lab, practice), self.released()
        if name not in released:
            raise LabError(
                f"Expected a released notebook of {lab.id}, found none in the checkout: is it "
                f"committed? `labs build {lab.id}` makes notebooks/{lab.file}.ipynb."
            )
        path, aside = self.folder / name, None
        if path.is_file() and path.read_bytes() != released[name]:
            aside = _free(path)
            path.rename(aside)
        _write(path, released[name])
        digest = _digest(released[name])
        known = read(self.folder) | {name: {"copied": digest, "released": digest}}
        _write(self.folder / RECORD, json.dumps(known, indent=1, sort_keys=True).encode())
        return aside


def read(folder: Path) -> dict[str, dict[str, str]]:
    """Return of which release each copy is; nothing before the first one."""
    try:
        found = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_waiting(known: Mapping[str, Mapping[str, str]], lab: Lab) -> bool:
    """Tell whether a new release waits for a lab whose copy was changed."""
    entry = known.get(_name(lab), {})
    return entry.get("copied") != entry.get("released")


def _name(lab: Lab, is_practice: bool = False) -> str:
    return f"notebooks/{lab.file}{'-practice' if is_practice else ''}.ipynb"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _free(path: Path) -> Path:
    """Return a name beside a file that nobody has: 04_train-before.ipynb, then -before-2."""
    number, found = 1, path.with_name(f"{path.stem}-before{path.suffix}")
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-before-{number}{path.suffix}")
    return found


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, content)
