"""Discovery documents, made from the catalog."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from labsandbox.apiserver.registry import Catalog, ResourceDef
from labsandbox.apiserver.registry.resource import Subresource

Json = dict[str, Any]
VERSION: Json = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.13",
    "gitCommit": "63adf010aa20e104c0b7043b47f42f50c9f72b17",
    "gitTreeState": "clean",
    "buildDate": "2025-06-01T00:00:00Z",
    "goVersion": "go1.23.9",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def _key_version(version: str) -> tuple[int, int, int, str]:
    """Order of versions: stable before beta before alpha, higher numbers first."""
    import re

    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if found is None:
        return (3, 0, 0, version)
    major, stage, minor = found.groups()
    rank = {None: 0, "beta": 1, "alpha": 2}[stage]
    return (rank, -int(major), -int(minor or 0), version)


def group_versions(catalog: Catalog, group: str) -> list[str]:
    """Served versions of a group, the preferred one first."""
    return sorted(catalog.versions(group), key=_key_version)


def _in_order(catalog: Catalog) -> list[str]:
    return [group for group in catalog.groups() if group]


def api_group(catalog: Catalog, group: str, *, whole: bool = True) -> Json | None:
    """The APIGroup object of a group; None when nothing of it is served."""
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version}
        for version in group_versions(catalog, group)
    ]
    if not versions:
        return None
    out: Json = {"kind": "APIGroup", "apiVersion": "v1"} if whole else {}
    return {**out, "name": group, "versions": versions, "preferredVersion": versions[0]}


def api_versions(address: str) -> Json:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def api_groups(catalog: Catalog) -> Json:
    groups = [{"name": "apiregistration.k8s.io"}]
    groups = [api_group(catalog, name, whole=False) or {} for name in _in_order(catalog)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _entry(resource: ResourceDef) -> Json:
    out: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.custom is not None:
        out["verbs"] = _CUSTOM_VERBS
    if resource.short_names:
        out["shortNames"] = list(resource.short_names)
    if resource.categories:
        out["categories"] = list(resource.categories)
    if "watch" in resource.verbs:
        out["storageVersionHash"] = resource.storage_version_hash
    return out


_CUSTOM_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]


def _sub_entry(resource: ResourceDef, sub: Subresource) -> Json:
    out: Json = {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind,
        "verbs": list(sub.verbs),
    }
    if sub.version:
        out["group"] = sub.group
        out["version"] = sub.version
    return out


def resource_list(catalog: Catalog, group: str, version: str) -> Json | None:
    """The APIResourceList of a group's version; None when it is not served."""
    rows = [row for row in catalog if row.group == group and row.version == version]
    if not rows:
        return None
    entries: list[Json] = []
    for row in rows:
        entries.append(_entry(row))
        entries += [_sub_entry(row, sub) for sub in row.subresources.values()]
    out: Json = {"kind": "APIResourceList"}
    if group:
        out["apiVersion"] = "v1"
    out["groupVersion"] = f"{group}/{version}" if group else version
    out["resources"] = entries
    return out


def _aggregated_entry(resource: ResourceDef) -> Json:
    shown: Json = {"group": "", "version": "", "kind": resource.kind}
    if resource.custom is not None:
        shown = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    out: Json = {
        "resource": resource.plural,
        "responseKind": shown,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs) if resource.custom is None else _CUSTOM_VERBS,
    }
    if resource.short_names:
        out["shortNames"] = list(resource.short_names)
    if resource.categories:
        out["categories"] = list(resource.categories)
    if resource.subresources:
        out["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _sub_kind(resource, sub),
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources.values()
        ]
    return out


def _sub_kind(resource: ResourceDef, sub: Subresource) -> Json:
    if resource.custom is not None and not sub.version:
        return {"group": resource.group, "version": resource.version, "kind": sub.kind}
    return {"group": sub.group, "version": sub.version, "kind": sub.kind}


def aggregated(catalog: Catalog, form: str, *, core: bool) -> Json:
    """APIGroupDiscoveryList, of the core group or of all others."""
    groups = [""] if core else _in_order(catalog)
    items = []
    for group in groups:
        metadata: Json = {"name": group} if group else {}
        metadata["creationTimestamp"] = None
        versions = [
            {
                "version": version,
                "resources": [
                    _aggregated_entry(row)
                    for row in catalog
                    if row.group == group and row.version == version
                ],
                "freshness": "Current",
            }
            for version in group_versions(catalog, group)
        ]
        items.append({"metadata": metadata, "versions": versions})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{form}",
        "metadata": {},
        "items": items,
    }


def entity_tag(body: bytes) -> str:
    """A strong ETag: the SHA-512 of the content, in upper case."""
    return f'"{hashlib.sha512(body).hexdigest().upper()}"'


def dumps(value: Json) -> bytes:
    return orjson.dumps(value)
