"""The state folder: where each thing of one sandbox lies."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs


@dataclass(frozen=True, slots=True)
class State:
    """The layout of one sandbox's folder."""

    root: Path

    @classmethod
    def at(cls, folder: str | Path | None = None) -> State:
        """Return the state at `folder`, at $LABSANDBOX_STATE, or at the user's own place."""
        chosen = folder or os.environ.get("LABSANDBOX_STATE")
        if chosen:
            return cls(Path(chosen).expanduser().absolute())
        return cls(Path(platformdirs.user_state_dir("labsandbox")) / "default")

    @property
    def pki(self) -> Path:
        """Return the folder of the local certificate authority."""
        return self.root / "pki"

    @property
    def ca(self) -> Path:
        """Return the certificate clients verify everything with."""
        return self.pki / "ca.crt"

    @property
    def admin_kubeconfig(self) -> Path:
        """Return the kubeconfig of the platform's administrator."""
        return self.root / "admin.conf"

    @property
    def apiserver_json(self) -> Path:
        """Return the file in which the API server says where it listens."""
        return self.root / "apiserver.json"

    @property
    def platform_json(self) -> Path:
        """Return the file in which the platform says how it is."""
        return self.root / "platform.json"

    @property
    def platform_env(self) -> Path:
        """Return the environment a lab needs, one NAME=value a line."""
        return self.root / "platform.env"

    @property
    def projects(self) -> Path:
        """Return the folder of the tenants' project repositories."""
        return self.root / "projects"

    @property
    def ezmeral(self) -> Path:
        """Return the front door's folder."""
        return self.root / "ezmeral"

    @property
    def credentials(self) -> Path:
        """Return the sheet with the generated passwords, readable by its owner alone."""
        return self.root / "credentials.csv"

    @property
    def logs(self) -> Path:
        """Return the folder of the platform's own logs."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Return the file whoever runs this sandbox holds locked."""
        return self.root / "lock"

    def kubeconfig(self, component: str) -> Path:
        """Return the kubeconfig of one component."""
        return self.root / "kubeconfigs" / f"{component}.conf"

    def make(self) -> None:
        """Create the folders, closed to everybody else."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.ezmeral, self.logs, self.projects, self.root / "kubeconfigs"):
            folder.mkdir(exist_ok=True, mode=0o700)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file, or an empty one when there is none to read."""
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
