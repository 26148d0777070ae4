"""What can go wrong; each text says what was expected, what was found, what to type next.

RegressError
├── BadMatrix
└── BuildFailed
"""

from __future__ import annotations

__all__ = ["BadMatrix", "BuildFailed", "RegressError"]


class RegressError(Exception):
    """The command cannot go on."""


class BadMatrix(RegressError):
    """The matrix, a case or a lock does not say what it must."""


class BuildFailed(RegressError):
    """An environment cannot be built."""
