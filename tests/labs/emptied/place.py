"""An emptied platform: no object in the namespace, no file in the repository, nobody at the
addresses, and a session that is over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from labhelpers.environment import Settings

__all__ = ["NOWHERE", "Emptied", "Gone"]

NOWHERE = "https://127.0.0.1:1"  # a port that nobody listens on


class Gone:
    """What stands for Spark, which is too slow to start for this: every table is gone."""

    read = property(lambda self: self)

    def format(self, name: str) -> Gone:
        """Take the name of a format, as Spark's reader does."""
        return self

    def option(self, key: str, value: object) -> Gone:
        """Take an option, as Spark's reader does."""
        return self

    def load(self, path: str, *_: object, **__: object) -> Any:
        """Say what Spark says of a path without a table."""
        raise FileNotFoundError(f"[DELTA_PATH_DOES_NOT_EXIST] {path} doesn't exist")

    def parquet(self, path: str) -> Any:
        """Say what Spark says of a path without files."""
        raise FileNotFoundError(f"[PATH_NOT_FOUND] {path}")

    def table(self, name: str) -> Any:
        """Say what Spark says of a table nobody made."""
        raise LookupError(f"[TABLE_OR_VIEW_NOT_FOUND] {name}")

    def sql(self, question: str) -> Any:
        """Say the same of a table that is asked for in SQL."""
        raise LookupError(f"[TABLE_OR_VIEW_NOT_FOUND] in {question!r}")


@dataclass(frozen=True)
class Emptied:
    """An emptied platform: the learner's place there, and clients for what is left."""

    place: Settings
    k8s: Any  # labhelpers.cluster.Clients of an empty namespace
    session: dict[str, str]  # one that has been signed out
    over: Any  # labhelpers.cluster.Clients of that session
    http: requests.Session

    @property
    def models(self) -> Path:
        """Return where a learner's models lie."""
        return self.place.project_repo / "models"

    @property
    def code(self) -> Path:
        """Return where a learner's programs lie."""
        return self.place.project_repo / "code"
