"""Run kubectl as somebody, and look at what it says."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kubectl:
    """The program, whom it speaks for, and with which settings."""

    program: str
    kubeconfig: Path
    identity: tuple[str, ...] = ()

    def speaking_as(self, user: str, group: str) -> Kubectl:
        """Return the same for somebody else: the administrator may speak for others."""
        return replace(self, identity=("--as", user, "--as-group", group))

    def run(
        self, *words: str, text: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        done = subprocess.run(
            [self.program, *words, *self.identity],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def get(self, *words: str) -> Any:
        """Return objects as data."""
        return json.loads(self.run("get", *words, "-o", "json").stdout)

    def may(self, *words: str) -> bool:
        """Tell what `kubectl auth can-i` says."""
        return self.run("auth", "can-i", *words, check=False).stdout.strip() == "yes"
