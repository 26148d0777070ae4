"""The kubeconfig that a learner's session wrote: where it is, and what its current context says."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["Context", "locate", "read"]


@dataclass(frozen=True)
class Context:
    """The current context: the cluster, the namespace and the user it names."""

    server: str
    namespace: str
    user: str
    authority: str  # the cluster's CA as PEM text; empty when the kubeconfig names a file or none
    authority_file: str


def locate() -> Path:
    """Return the kubeconfig's path: the first one in KUBECONFIG, or kubectl's default."""
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def read(path: Path) -> Context:
    """Read the current context; OSError, ValueError, KeyError or TypeError when it has none."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"Expected YAML in {path}, found: {error}") from error
    contexts = {entry["name"]: entry["context"] for entry in document["contexts"]}
    clusters = {entry["name"]: entry["cluster"] for entry in document["clusters"]}
    current = contexts[document["current-context"]]
    cluster = clusters[current["cluster"]]
    return Context(
        cluster["server"],
        current.get("namespace", "default"),
        current.get("user", ""),
        base64.b64decode(cluster.get("certificate-authority-data", "")).decode(),
        cluster.get("certificate-authority", ""),
    )
