"""What a helper says when it cannot go on: what was expected, what was found, what to type next.

LabError
├── JavaUnusable     no Java, or one that Spark cannot run on
├── JarUnusable      the Delta and Iceberg jar is missing, does not fit Spark, or cannot be written
├── SparkUnavailable Spark did not start
├── DataUnreadable   a data file, or one column of it, cannot be read
├── EngineRefused    an engine answers, and not with what it was asked for
├── LabMissing       an earlier lab has not been run
├── SettingsError    a setting is missing or unusable
└── SignInNeeded     there is no session, or it is over
"""

from __future__ import annotations

__all__ = [
    "DataUnreadable",
    "EngineRefused",
    "JarUnusable",
    "JavaUnusable",
    "LabError",
    "LabMissing",
    "SettingsError",
    "SignInNeeded",
    "SparkUnavailable",
]


class LabError(Exception):
    """The base of all errors of labhelpers; its text ends with what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentences alone: a learner needs no stack of ours."""
        return [f"{type(self).__name__}: {self}"]


class JavaUnusable(LabError):
    """There is no Java, or not one that Spark can run on."""


class JarUnusable(LabError):
    """The jar with Delta and Iceberg is missing, does not fit, or cannot be written."""


class SparkUnavailable(LabError):
    """Spark did not start; the text carries the last words of its log."""


class DataUnreadable(LabError):
    """A data file, or one of its columns, cannot be read; the text names both."""


class EngineRefused(LabError):
    """An engine answers, and not with what it was asked for; the text holds its words."""


class LabMissing(LabError):
    """An earlier lab has not been run; the text says which."""


class SettingsError(LabError):
    """A setting is missing from the environment, or what it names cannot be used."""


class SignInNeeded(LabError):
    """There is no session, or it is over; the text says what to run."""
