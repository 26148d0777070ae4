"""Say which lab is missing, when one is started out of order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labhelpers.cluster import KUBEDIRECTOR, Clients
from labhelpers.errors import LabMissing

__all__ = ["cluster_of", "file_of"]


def file_of(lab: str, path: Path) -> Path:
    """Return the path of what an earlier lab left in the project repository.

    >>> file_of("core-04", Path("/nowhere/card.json"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    labhelpers.errors.LabMissing: Expected card.json of lab core-04, found none. ...
    """
    if not path.is_file():
        raise LabMissing(_sentence(path.name, lab))
    return path


def cluster_of(lab: str, clients: Clients, name: str) -> dict[str, Any]:
    """Return the kdcluster an earlier lab deployed."""
    listed = clients.custom.list_namespaced_custom_object(
        namespace=clients.namespace, plural="kubedirectorclusters", **KUBEDIRECTOR
    )
    for item in listed["items"]:
        if item["metadata"]["name"] == name:
            return dict(item)
    raise LabMissing(_sentence(f"kdcluster {name}", lab))


def _sentence(what: str, lab: str) -> str:
    return (
        f"Expected {what} of lab {lab}, found none. Run lab {lab} first; "
        f"`labs prepare` in a terminal, with the name of this lab, does it for you."
    )
