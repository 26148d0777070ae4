"""All resources the server serves now: the built-in rows and those of CustomResourceDefinitions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

from labsandbox.apiserver.registry import rare
from labsandbox.apiserver.registry.resource import (
    STANDARD_VERBS,
    ResourceDef,
    Strategy,
    Subresource,
)

_RETURNS_OBJECT = {
    "pods",
    "services",
    "persistentvolumeclaims",
    "persistentvolumes",
    "serviceaccounts",
    "resourcequotas",
    "podtemplates",
    "podsecuritypolicies",
    "storageclasses",
    *rare.RETURNS_OBJECT,
}
_GENERATION = {
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
    "replicationcontrollers",
    "ingresses",
    "networkpolicies",
    "poddisruptionbudgets",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "priorityclasses",
    "podtemplates",
    "customresourcedefinitions",
    "endpointslices",
    *rare.GENERATION,
}
_UPDATE_CREATES = {
    "leases",
    "events",
    "endpoints",
    "services",
    "limitranges",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
}
_CONDITIONAL = {
    "customresourcedefinitions",
    "leases",
    "poddisruptionbudgets",
    "controllerrevisions",
    "apiservices",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    *rare.CONDITIONAL,
}


def _strategy(plural: str, subresources: dict[str, Subresource]) -> Strategy:
    return Strategy(
        generation=plural in _GENERATION,
        returns_object=plural in _RETURNS_OBJECT,
        graceful=plural == "pods",
        status="status" in subresources,
        update_creates=plural in _UPDATE_CREATES,
        unconditional_update=plural not in _CONDITIONAL,
    )


@cache
def builtin() -> tuple[ResourceDef, ...]:
    """Read the built-in resources in the order discovery lists them."""
    text = files("labsandbox.apiserver.registry").joinpath("builtin.json").read_bytes()
    return tuple(_from_row(row) for row in rare.among(json.loads(text)))


def _from_row(row: dict[str, object]) -> ResourceDef:
    raw = row.get("subresources") or {}
    assert isinstance(raw, dict)
    subresources = {
        name: Subresource(
            name, sub["kind"], tuple(sub["verbs"]), sub.get("group", ""), sub.get("version", "")
        )
        for name, sub in raw.items()
    }
    plural = str(row["plural"])
    storage = row.get("storage")
    hashed = row.get("hash")
    return ResourceDef(
        group=str(row["group"]),
        version=str(row["version"]),
        kind=str(row["kind"]),
        plural=plural,
        singular=str(row["singular"]),
        short_names=tuple(row.get("shortNames") or ()),  # type: ignore[arg-type]
        categories=tuple(row.get("categories") or ()),  # type: ignore[arg-type]
        namespaced=bool(row["namespaced"]),
        verbs=tuple(row.get("verbs") or STANDARD_VERBS),  # type: ignore[arg-type]
        subresources=subresources,
        strategy=_strategy(plural, subresources),
        storage=tuple(storage) if isinstance(storage, list) else None,
        storage_hash=str(hashed) if hashed else None,
    )


class Catalog:
    """Finds a resource by path or by kind; custom resources come and go at run time."""

    def __init__(self, rows: Iterable[ResourceDef] | None = None) -> None:
        self._rows: dict[tuple[str, str, str], ResourceDef] = {}
        self._kinds: dict[tuple[str, str, str], ResourceDef] = {}
        self.revision = 0
        for row in builtin() if rows is None else rows:
            self.add(row)

    def add(self, row: ResourceDef) -> None:
        """Serve `row` from now on, in place of an older row of the same name."""
        self._rows[row.group, row.version, row.plural] = row
        self._kinds[row.group, row.version, row.kind] = row
        self.revision += 1

    def remove(self, row: ResourceDef) -> None:
        """Stop serving `row`; removing an unknown row is no error."""
        self._rows.pop((row.group, row.version, row.plural), None)
        self._kinds.pop((row.group, row.version, row.kind), None)
        self.revision += 1

    def find(self, group: str, version: str, plural: str) -> ResourceDef | None:
        return self._rows.get((group, version, plural))

    def find_kind(self, group: str, version: str, kind: str) -> ResourceDef | None:
        return self._kinds.get((group, version, kind))

    def find_resource(self, group: str, plural: str) -> ResourceDef | None:
        """The first served version of `plural` in `group`, whichever it is."""
        for row in self._rows.values():
            if row.group == group and row.plural == plural:
                return row
        return None

    def versions(self, group: str) -> list[str]:
        """Served versions of a group in order of registration; empty for an unknown group."""
        return list(dict.fromkeys(row.version for row in self._rows.values() if row.group == group))

    def groups(self) -> list[str]:
        return list(dict.fromkeys(row.group for row in self._rows.values()))

    def __iter__(self) -> Iterator[ResourceDef]:
        return iter(list(self._rows.values()))
