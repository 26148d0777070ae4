"""What stands between this machine and a Spark session.

SparkError
├── JavaUnusable     no Java, or one that Spark cannot run on
├── JarUnusable      the Delta and Iceberg jar is missing, does not fit Spark, or cannot be written
├── SparkUnavailable Spark did not start
├── ExtensionUnusable an extension of DuckDB is not the one that was tried
└── SnapshotGone     a snapshot of a table has expired
"""

from __future__ import annotations

__all__ = [
    "ExtensionUnusable",
    "JarUnusable",
    "JavaUnusable",
    "SnapshotGone",
    "SparkError",
    "SparkUnavailable",
]


class SparkError(Exception):
    """The base of all errors of labspark; its text ends with what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentences alone: a learner needs no stack of ours."""
        return [f"{type(self).__name__}: {self}"]


class JavaUnusable(SparkError):
    """There is no Java, or not one that Spark can run on."""


class JarUnusable(SparkError):
    """The jar with Delta and Iceberg is missing, does not fit, or cannot be written."""


class SparkUnavailable(SparkError):
    """Spark did not start; the text carries the last words of its log."""


class ExtensionUnusable(SparkError):
    """An extension of DuckDB differs from the one that was tried."""


class SnapshotGone(SparkError):
    """A snapshot of a table has expired: its rows cannot be read again."""
