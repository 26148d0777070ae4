"""What a helper says when it cannot go on: what was expected, what was found, what to type next.

LabError
├── EngineRefused    an engine answers, and not with what it was asked for
├── LabMissing       an earlier lab has not been run
└── SettingsError    a setting is missing or unusable
"""

from __future__ import annotations

__all__ = ["EngineRefused", "LabError", "LabMissing", "SettingsError"]


class LabError(Exception):
    """The base of all errors of labhelpers; its text ends with what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentences alone: a learner needs no stack of ours."""
        return [f"{type(self).__name__}: {self}"]


class EngineRefused(LabError):
    """An engine answers, and not with what it was asked for; the text holds its words."""


class LabMissing(LabError):
    """An earlier lab has not been run; the text says which."""


class SettingsError(LabError):
    """A setting is missing from the environment, or what it names cannot be used."""
