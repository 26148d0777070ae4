"""The repository as the rules see it: its tracked files, by path; a fixture is a small one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "labhelpers/",
    "labdata/",
    "labspark/",
    "labshow/",
    "labkube/",
    "labrunner/",
    "labpanel/",
    "labclass/",
    "labregress/",
    "labsandbox/",
    "labapps/",
)
PACKAGES = (*ROOMS, "benchmarks/")


@dataclass(frozen=True)
class Tree:
    """Files by path; text where it is text."""

    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of_checkout(cls) -> Tree:
        """Read what git tracks and what it would track."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        try:
            names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
            paths = [ROOT / name for name in names.decode().split("\0") if name]
        except (OSError, subprocess.CalledProcessError):  # an archive without .git
            environments = {path.name for path in ROOT.glob(".venv*")}
            hidden = {"build", "__pycache__"} | environments
            paths = [path for path in ROOT.rglob("*") if not hidden & set(path.parts)]
        return cls(
            {str(path.relative_to(ROOT)): path.read_bytes() for path in paths if path.is_file()}
        )

    @classmethod
    def of(cls, **files: str) -> Tree:
        """Make a small tree; `__` stands for a slash and `_dot_` for a dot."""
        return cls({name: text.encode() for name, text in files.items()})

    @cached_property
    def texts(self) -> dict[str, str]:
        """Return the text files."""
        found = {}
        for path, content in self.files.items():
            if b"\0" not in content[:4096]:
                found[path] = content.decode("utf-8", "replace")
        return found

    def python(self, *starts: str) -> Iterator[tuple[str, str]]:
        """Return the Python files below some folders, or all."""
        for path, text in self.texts.items():
            if path.endswith(".py") and (not starts or path.startswith(starts)):
                yield path, text
