"""Where a program finds itself: the pod's file system, its address, the project repository.

The same program runs in a container and as a process on a laptop. In a container `POD_ROOT` is
unset and container paths are real; on a laptop they lie below `POD_ROOT`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REPOSITORY_PREFIXES", "PathError", "Place"]

# Longest first: each of them means the root of the tenant's project repository.
REPOSITORY_PREFIXES = (
    "/bd-fs-mnt/TenantShare/repo",
    "/bd-fs-mnt/project_repo",
    "repo://project_repo",
)
LOOSE = 32768  # ports from here on are the kernel's to choose


class PathError(ValueError):
    """A path does not lie in the project repository."""


@dataclass(frozen=True)
class Place:
    """The surroundings of this process, read once at its start."""

    root: str
    listen: str
    repository: Path
    shared: tuple[int, int] | None = None  # first port and count, where pods share one address

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Place:
        """Read the surroundings from the environment."""
        root = env.get("POD_ROOT", "").rstrip("/")
        repository = env.get("PROJECT_REPO") or f"{root}/bd-fs-mnt/project_repo"
        first, _, count = env.get("POD_LISTEN_PORTS", "").partition("/")
        shared = (int(first), int(count)) if count else None
        return cls(root, env.get("POD_LISTEN_IP") or "0.0.0.0", Path(repository), shared)

    def port(self, port: int) -> int:
        """Return which port of `listen` is a port of this pod.

        On a laptop whose pods share 127.0.0.1 each has some ports of it: `POD_LISTEN_PORTS` says
        the first and how many. Ports that the kernel chooses are what they are.

        >>> place = Place.from_env({"POD_LISTEN_PORTS": "20157/157"})
        >>> place.port(8000), place.port(0), Place.from_env({}).port(8000)
        (20307, 0, 8000)
        """
        if self.shared is None or not 0 < port < LOOSE:
            return port
        first, count = self.shared
        return first + port % count

    def path(self, container_path: str) -> Path:
        """Return where a container path lies on this machine."""
        return Path(self.root + container_path)

    def resolve(self, path: str) -> Path:
        """Return the file that a path of a model ConfigMap means.

        >>> place = Place("", "0.0.0.0", Path("/repository"))
        >>> str(place.resolve("repo://project_repo/models/taxi.onnx"))
        '/repository/models/taxi.onnx'
        >>> place.resolve("/etc/passwd")
        Traceback (most recent call last):
        labapps.member.place.PathError: Expected a path on the project repository, such as \
repo://project_repo/models/taxi.skops; found '/etc/passwd'.
        """
        repository = self.repository.resolve()
        candidate: Path | None = None
        for prefix in REPOSITORY_PREFIXES:
            if path.startswith(prefix + "/"):
                candidate = self.repository / path[len(prefix) :].lstrip("/")
                break
        else:
            if Path(path).is_absolute():
                candidate = Path(path)
        if candidate is not None:
            real = candidate.resolve()
            if real.is_relative_to(repository):
                return real
        raise PathError(
            "Expected a path on the project repository, such as "
            f"repo://project_repo/models/taxi.skops; found {path!r}."
        )

    def mappings(self) -> dict[str, str]:
        """Return the container prefixes that scripts may use and what each means here."""
        real = str(self.repository)
        return {p: real for p in REPOSITORY_PREFIXES if p.startswith("/") and p != real}
