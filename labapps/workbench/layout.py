"""Where things lie on the project repository: below `workbench/`, the same for all pods."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from labapps.workbench.files import Folder

__all__ = ["BUILDS", "ENVIRONMENTS", "IMAGE", "PROJECTS", "REGISTRY", "RUNS", "Layout"]

HOME, PROJECTS, RUNS, BUILDS = "workbench", "projects", "runs", "builds"
ENVIRONMENTS = "environments"
IMAGE = "/opt/model"
"""Where the image of a build has `builds` and `environments`; others have nothing there."""
REGISTRY = "/etc/registry"
"""Where the container that pushes images finds its account."""

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True)
class Layout:
    """The folders of a workbench.

    >>> Layout(Path("/repository")).run("run-1")
    PosixPath('/repository/workbench/runs/run-1')
    """

    repository: Path
    image: Path | None = None

    @classmethod
    def from_env(cls) -> Layout:
        """Return the layout as a pod sees it."""
        root = os.environ.get("POD_ROOT", "").rstrip("/")
        default = f"{root}/bd-fs-mnt/project_repo"
        return cls(Path(os.environ.get("PROJECT_REPO") or default), Path(f"{root}{IMAGE}"))

    def project(self, number: str) -> Path:
        return self._of(PROJECTS, number)

    def run(self, unit: str) -> Path:
        return self._of(RUNS, unit)

    def build(self, digest: str) -> Path:
        """Return the folder of a build: the pod's own image counts, then the repository."""
        return self._inside(BUILDS, digest)

    def environment(self, digest: str) -> Path:
        return self._inside(ENVIRONMENTS, digest)

    def state(self, name: str) -> Path:
        return self._of("state", name)

    def trust(self) -> Path:
        """Return the folder of certificates that programs of runs and replicas need."""
        return self.repository / HOME / "trust"

    def folder(self, *names: str) -> Folder:
        """Return a folder of the workbench, to be opened component by component."""
        return Folder(self.repository, HOME, *names)

    def made(self, kind: str) -> AbstractContextManager[int]:
        """Open the folder of all projects, or all builds; make it where it is missing."""
        return Folder(self.repository).opened([HOME, kind], make=True)

    def _inside(self, kind: str, name: str) -> Path:
        found = self._of(kind, name)
        if self.image is not None and (inside := self.image / kind / name).is_dir():
            return inside
        return found

    def _of(self, kind: str, name: str) -> Path:
        if not WORD.match(name):
            raise ValueError(f"Expected a plain name below workbench/{kind}; found {name!r}.")
        return self.repository / HOME / kind / name
