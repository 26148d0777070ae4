"""Who may do what: the roles of people and of the platform's own parts.

The files of `deploy/kubernetes/rights` are the only source. An operator applies them to a cluster
with kubectl, the laptop platform with `grant`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labsandbox import manifests
from labsandbox.client import Client, Resource, create_or_merge
from labsandbox.client.resources import CLUSTERROLEBINDINGS, CLUSTERROLES

FOLDER = Path(__file__).parents[1] / "deploy" / "kubernetes" / "rights"
_RESOURCES: dict[str, Resource] = {
    resource.kind: resource for resource in (CLUSTERROLES, CLUSTERROLEBINDINGS)
}


def load() -> Iterator[dict[str, Any]]:
    """Return the roles and their bindings."""
    for file in sorted(FOLDER.rglob("*.yaml")):
        for document in manifests.documents(file.read_text()):
            if document["kind"] in _RESOURCES:
                yield document


async def grant(client: Client) -> None:
    """Create the roles and bindings, or bring those that are there up to date."""
    await asyncio.gather(*(create_or_merge(client, _RESOURCES[one["kind"]], one) for one in load()))
