"""How to run a failed lab again, and where its failing cell stands: in the source, in the page."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labrunner import settings, source
from labrunner.curriculum import Curriculum, Lab
from labrunner.errors import LabError

if TYPE_CHECKING:
    from labrunner.replay import Plan

_TIMEOUT = 3600


def command(
    curriculum: Curriculum, plan: Plan, lab: Lab, parameters: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the line that runs a lab as it was run, after the labs it needs.

    `parameters` holds the values each lab of the replay was given.
    """
    needed = [one.id for one in curriculum.with_needs(lab)]
    words = ["labs", "replay", "--only", ",".join(needed)]
    for name, value in plan.given.items():
        where, _, plain = name.rpartition(":")
        wanted = [curriculum.get(where).id] if where else needed
        if any(plain in parameters.get(one, {}) for one in wanted if one in needed):
            words += ["--set", f"{name}={_literal(value)}"]
    words += ["--solutions"] if plan.solutions else []
    words += ["--again"] if plan.again else []
    words += ["--timeout", str(plan.timeout)] if plan.timeout != _TIMEOUT else []
    words += ["--platform", str(plan.platform)] if plan.platform else []
    return shlex.join(words)


def _literal(value: Any) -> str:
    """Write a value so that `--set` reads it back.

    >>> _literal(5), _literal("New York"), _literal("1")
    ('5', 'New York', "'1'")
    """
    if isinstance(value, str) and settings.parse(f"x={value}")[1] == value:
        return value
    return repr(value)


def place(curriculum: Curriculum, lab: Lab, number: int) -> str:
    """Return file:line of a cell in the lab's source; nothing when the source cannot be read.

    `number` counts the cells of the source from 1.
    """
    file = curriculum.source(lab)
    try:
        line = source.first_lines(file.read_text("utf-8"))[number - 1]
    except (OSError, LabError, IndexError):
        return ""
    return f"{file.relative_to(curriculum.root)}:{line}"


def commit(root: Path) -> str:
    """Return the commit of a checkout and whether it has changes; nothing where there is none."""
    found = _git(root, "rev-parse", "--short=12", "HEAD")
    if not found:
        return ""
    return f"{found} with changes" if _git(root, "status", "--porcelain") else found


def _git(root: Path, *words: str) -> str:
    trusted = ["-c", "safe.directory=*"]
    try:
        done = subprocess.run(
            ["git", *trusted, *words], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
