"""Build a kustomization with kubectl, as an operator does."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.schemas import documents
from tests.repo.tree import ROOT

Json = dict[str, Any]
KUBERNETES = ROOT / "deploy" / "kubernetes"
FOLDERS = (".", "rights", "rights/parts", "operator", "hub", "repository", "site-example")
"""What the README tells to apply; `.` brings rights and the tenant."""


# Some kubectls look for a server's version first, and wait for one that does not answer.
NOWHERE = Path(__file__).with_name("nowhere.conf")


def program() -> str:
    """Return kubectl, or skip the test."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not on this machine, and kustomize is inside it")
    return found


@cache
def text(folder: Path) -> str:
    """Return what a folder builds to."""
    done = subprocess.run(
        [program(), f"--kubeconfig={NOWHERE}", "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


def build(folder: str | Path) -> list[Json]:
    """Return the objects of a folder below deploy/kubernetes."""
    return list(documents(text((KUBERNETES / folder).resolve())))


def named(objects: list[Json], kind: str, name: str) -> Json:
    """Return one object of a build."""
    return next(o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
