"""Order of API versions: v2 before v1 before v1beta2 before v1alpha1, then the others by name."""

from __future__ import annotations

import re

SHAPE = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
STAGES = {"alpha": 0, "beta": 1, None: 2}


def priority(name: str) -> tuple[int, int, int, int, tuple[int, ...]]:
    """A sort key: the greater, the more preferred."""
    found = SHAPE.fullmatch(name)
    if found is None:
        return (0, 0, 0, 0, tuple(-ord(char) for char in name))
    stage = STAGES[found[2]]
    return (1, stage, int(found[1]), int(found[3] or 0), ())
