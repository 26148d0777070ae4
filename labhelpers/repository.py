"""The learner's own folders in the project repository, and what earlier labs left there."""

from __future__ import annotations

import shutil
from pathlib import Path

from labhelpers.errors import LabMissing
from labspark.place import project_repo, user

__all__ = ["file_of", "fresh", "project_repo", "workspace"]


def workspace(lab: str) -> Path:
    """Return the learner's own folder for a lab, so that two learners share one repository."""
    folder = project_repo() / lab / user()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fresh(folder: Path) -> Path:
    """Remove a folder that a cell is about to make again, so that the cell may run twice."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def file_of(lab: str, path: Path) -> Path:
    """Return the path of what an earlier lab left in the project repository.

    >>> file_of("core-04", Path("/nowhere/card.json"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    labhelpers.errors.LabMissing: Expected card.json of lab core-04, found none. ...
    """
    if not path.is_file():
        raise missing(path.name, lab)
    return path


def missing(what: str, lab: str) -> LabMissing:
    """Return the error that names the lab to run first."""
    return LabMissing(
        f"Expected {what} of lab {lab}, found none. Run lab {lab} first; "
        f"`labs prepare` in a terminal, with the name of this lab, does it for you."
    )
