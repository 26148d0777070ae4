"""The CustomResourceDefinitions of KubeDirector, as files of this package."""

from __future__ import annotations

from importlib import resources as files

from labsandbox import manifests
from labsandbox.kubedirector.model import Object

__all__ = ["load_crds"]


def load_crds() -> list[Object]:
    """Return the CustomResourceDefinitions of KubeDirector."""
    folder = files.files("labsandbox.kubedirector") / "crds"
    return [
        document
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
        for document in manifests.documents(entry.read_text())
    ]
