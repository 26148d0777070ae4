"""The connection hash: one number that changes whenever a connected object does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from labsandbox.kubedirector.model import Object, connections_of

Lookup = Callable[[str, str], Object | None]


def compute_hash(cluster: Object, lookup: Lookup) -> str:
    """Return the md5 of the connected names and versions, in the order of the spec.

    `lookup(kind, name)` gives the object of that name in the cluster's namespace, kind being
    clusters, configmaps or secrets.
    """
    text = ""
    for name in connections_of(cluster, "clusters"):
        connected = lookup("clusters", name)
        text += name
        if connected is not None:
            generation = (connected.get("status") or {}).get("specGenerationToProcess")
            if _leads_back(connected, cluster["metadata"]["name"], lookup):
                # differs: two that connect to each other would reconnect in turns for ever. What
                # their users asked for is counted instead of what became of it.
                generation = connected["metadata"].get("generation")
            text += "nil" if generation is None else str(generation)
    for kind in ("configmaps", "secrets"):
        for name in connections_of(cluster, kind):
            connected = lookup(kind, name)
            text += name + (connected["metadata"]["resourceVersion"] if connected else "")
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _leads_back(cluster: Object, target: str, lookup: Lookup) -> bool:
    """Say whether connections lead from a kdcluster to the one named `target`."""
    seen: set[str] = set()
    ahead: list[Object] = [cluster]
    while ahead:
        current = ahead.pop()
        name = current["metadata"]["name"]
        if name == target:
            return True
        if name not in seen:
            seen.add(name)
            found = (lookup("clusters", other) for other in connections_of(current, "clusters"))
            ahead += [other for other in found if other is not None]
    return False
