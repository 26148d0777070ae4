"""Namespaces, nodes and volumes."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
NAME_LABEL = "kubernetes.io/metadata.name"


def create_namespace(obj: Json) -> None:
    obj["status"] = {"phase": "Active"}
    spec = obj.setdefault("spec", {})
    finalizers = spec.get("finalizers") or []
    if "kubernetes" not in finalizers:
        spec["finalizers"] = [*finalizers, "kubernetes"]
    _label(obj)


def update_namespace(new: Json, old: Json) -> None:
    new["spec"] = {**(new.get("spec") or {})}
    finalizers = (old.get("spec") or {}).get("finalizers")
    if finalizers is None:
        new["spec"].pop("finalizers", None)
    else:
        new["spec"]["finalizers"] = finalizers
    _label(new)


def _label(obj: Json) -> None:
    metadata = obj["metadata"]
    if metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: metadata["name"]}


def create_node(obj: Json) -> None:
    """A kubelet registers its node with a status; it is kept."""


def create_volume(obj: Json) -> None:
    obj["status"] = {"phase": "Pending"}
    created = obj["metadata"].get("creationTimestamp")
    if created:
        obj["status"]["lastPhaseTransitionTime"] = created


_OWN_SOURCES = (("PersistentVolumeClaim", ""), ("VolumeSnapshot", "snapshot.storage.k8s.io"))


def create_claim(obj: Json) -> None:
    obj["status"] = {"phase": "Pending"}
    spec = obj.get("spec") or {}
    _drop_sources(spec, {})
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None:
        spec["dataSource"] = dict(reference)


def update_claim(new: Json, old: Json) -> None:
    _drop_sources(new.get("spec") or {}, old.get("spec") or {})


def _drop_sources(spec: Json, before: Json) -> None:
    """Sources in other namespaces are an alpha feature; foreign ones only work as dataSourceRef."""
    reference = spec.get("dataSourceRef") or {}
    if reference.get("namespace") and before.get("dataSourceRef") is None:
        del spec["dataSourceRef"]
    if before.get("dataSource") is not None or before.get("dataSourceRef") is not None:
        return
    source = spec.get("dataSource")
    if source is None or spec.get("dataSourceRef") is not None:
        return
    if (source.get("kind", ""), source.get("apiGroup") or "") not in _OWN_SOURCES:
        del spec["dataSource"]


def create_definition(obj: Json) -> None:
    """A definition is accepted after it is stored; until then its status is empty."""
    versions = (obj.get("spec") or {}).get("versions") or ()
    stored = [
        version.get("name")
        for version in versions
        if isinstance(version, dict) and version.get("storage")
    ]
    obj["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored[:1],
    }
