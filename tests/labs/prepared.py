"""A platform on which the labs of a story have passed up to a point: for tests that begin there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from labrunner import sandbox
from labrunner.curriculum import load
from tests.labs.platform import Platform
from tests.labs.stories.story import replay
from tests.repo.tree import ROOT

__all__ = ["before", "learner_of", "passed_before"]

HOUR = 3600.0


def before(lab_id: str) -> list[str]:
    """Return the labs that a lab needs, in the order in which they are done."""
    curriculum = load(ROOT)
    wanted = set(curriculum.get(lab_id).needs)
    while more := {n for lab in curriculum.labs if lab.id in wanted for n in lab.needs} - wanted:
        wanted |= more
    return [lab.id for lab in curriculum.labs if lab.id in wanted]


@contextlib.contextmanager
def passed_before(lab_id: str, folder: Path) -> Iterator[Platform]:
    """Give a sandbox of its own on which every lab before this one was replayed."""
    with sandbox.running(folder / "state") as settings:
        file = folder / "platform.env"
        file.write_text("\n".join(f"{name}={value!r}" for name, value in settings.items()))
        only = ["--only", ",".join(before(lab_id)), "--platform", str(file)]
        done = replay(folder / "out", *only, timeout=HOUR)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        yield Platform(folder / "state", settings)


def learner_of(platform: Platform, home: Path) -> Mapping[str, str]:
    """Return the environment of a learner's kernel on a platform."""
    own = {
        "LABS_HOME": str(home),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONPATH": str(ROOT),
    }
    return sandbox.merged(dict(os.environ) | own, platform.settings)
