"""The platform that the tests of this folder run against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.deploy.kubectl import Kubectl
from tests.deploy.kustomize import program

NAMESPACE = "physics"


@dataclass(frozen=True)
class Platform:
    """A running sandbox."""

    state: Path
    settings: dict[str, str]

    @property
    def kubectl(self) -> Kubectl:
        """Return kubectl as the platform's administrator."""
        return Kubectl(program(), self.state / "admin.conf")

    @property
    def repository(self) -> Path:
        """Return the tenant's project repository."""
        return Path(self.settings["PROJECT_REPO"])
