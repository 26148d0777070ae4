"""Finds the kubectl versions on this machine and runs them as a user would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SUPPORTED = ("1.29", "1.30", "1.31", "1.32", "1.33")
VERSION = re.compile(r"Client Version: v(\d+\.\d+)")


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """One kubectl, signed in to one server, in one namespace."""

    program: str
    kubeconfig: Path
    home: Path
    namespace: str = "default"

    def run(self, *arguments: str, text: str | None = None, seconds: float = 30) -> Answer:
        """Run a command; the caller looks at how it ended."""
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            # `kubectl edit` asks this; each test says what the editor does.
            "KUBE_EDITOR": os.environ.get("KUBE_EDITOR", "true"),
        }
        done = subprocess.run(
            [self.program, "--namespace", self.namespace, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, text: str | None = None) -> str:
        """Run a command that must work; return what it printed."""
        answer = self.run(*arguments, text=text)
        assert answer.code == 0, f"kubectl {' '.join(arguments)}\n{answer.out}{answer.err}"
        return answer.out

    def fails(self, *arguments: str, text: str | None = None) -> str:
        """Run a command that must fail; return what it complained about."""
        answer = self.run(*arguments, text=text)
        assert answer.code != 0, f"kubectl {' '.join(arguments)} worked:\n{answer.out}"
        return answer.err

    def edit(self, script: str, *arguments: str) -> str:
        """Run `kubectl edit` with a shell script for an editor."""
        editor = self.home / "editor"
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)
        done = subprocess.run(
            [self.program, "--namespace", self.namespace, "edit", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self.home),
                "KUBECONFIG": str(self.kubeconfig),
                "KUBE_EDITOR": str(editor),
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def versions() -> dict[str, str]:
    """The supported kubectl versions here: version -> program."""
    several = everything()
    return {v: file for v, file in several.items() if v in SUPPORTED or len(several) == 1}


@cache
def everything() -> dict[str, str]:
    """All kubectl versions here: what carries streams does not depend on the documents served."""
    found: dict[str, str] = {}
    plain = shutil.which("kubectl")
    if plain is None:
        return found
    # A dispatcher keeps the versions it chooses from beside itself.
    for file in sorted(Path(plain).resolve().parent.glob("kubectl.1.*")):
        version = file.name.removeprefix("kubectl.")
        if os.access(file, os.X_OK):
            found[version] = str(file)
    if not found:
        told = subprocess.run(
            [plain, "version", "--client"], capture_output=True, text=True, check=False
        )
        match = VERSION.search(told.stdout)
        if match is not None:
            found[match[1]] = plain
    return found
