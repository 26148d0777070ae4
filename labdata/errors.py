"""What a generator or a loader says when it cannot go on.

DataError
├── DataUnreadable   a data file, or one column of it, cannot be read
└── PayloadError     a scoring request has none of the known forms
"""

from __future__ import annotations

__all__ = ["DataError", "DataUnreadable", "PayloadError"]


class DataError(Exception):
    """The base of all errors of labdata; its text ends with what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentences alone: a learner needs no stack of ours."""
        return [f"{type(self).__name__}: {self}"]


class DataUnreadable(DataError):
    """A data file, or one of its columns, cannot be read; the text names both."""


class PayloadError(DataError):
    """A scoring request has none of the forms; the text says what was expected and found."""
