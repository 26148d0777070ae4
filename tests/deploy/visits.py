"""Visits to a platform that runs, and ways to break it in one place for a while."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from labclass.checkup.finding import Finding
from labclass.checkup.looks import LOOKS, Look, examine
from labclass.checkup.visit import Visit, visiting
from tests.deploy.kubectl import Kubectl
from tests.deploy.running import Platform

TENANT = "k8smltenant"
WAY_IN = LOOKS[: [each.name for each in LOOKS].index("Kubernetes") + 1]


def look(platform: Platform, *more: Look, **changed: str) -> dict[str, Finding]:
    """Visit the platform with changed settings; return the findings on the way in, and more."""
    visit = Visit(platform.settings | changed)
    with visiting(visit):
        return {found.name: found for found in examine(visit, [*WAY_IN, *more])}


def shared(kubectl: Kubectl) -> str:
    found = kubectl.get("kdcluster", "training-engine-shared", "-n", TENANT)
    return str((found.get("status") or {}).get("state"))


def one(found: Iterator[Finding]) -> Finding:
    (only,) = list(found)
    return only


@contextlib.contextmanager
def without(kubectl: Kubectl, *what: str) -> Iterator[None]:
    """Remove an object for a while."""
    kept = kubectl.get(*what)
    for name in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
        kept["metadata"].pop(name, None)
    kubectl.run("delete", *what)
    try:
        yield
    finally:
        kubectl.run("create", "-f", "-", text=json.dumps(kept))


@contextlib.contextmanager
def patched(kubectl: Kubectl, what: tuple[str, ...], patch: Any, back: Any) -> Iterator[None]:
    """Change an object for a while."""
    kubectl.run("patch", *what, "--type=merge", "-p", json.dumps(patch))
    try:
        yield
    finally:
        kubectl.run("patch", *what, "--type=merge", "-p", json.dumps(back))
