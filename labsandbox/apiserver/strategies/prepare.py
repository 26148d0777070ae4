"""The rules all kinds share, and the table of those that have their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.strategies import cluster, network, workloads

Json = dict[str, Any]

_CREATE: dict[str, Callable[[Json], None]] = {
    "namespaces": cluster.create_namespace,
    "nodes": cluster.create_node,
    "persistentvolumes": cluster.create_volume,
    "persistentvolumeclaims": cluster.create_claim,
    "pods": workloads.create_pod,
    "services": network.create_service,
    "daemonsets.apps": workloads.create_daemon_set,
    "jobs.batch": workloads.create_job,
    "customresourcedefinitions.apiextensions.k8s.io": cluster.create_definition,
}
_UPDATE: dict[str, Callable[[Json, Json], None]] = {
    "namespaces": cluster.update_namespace,
    "pods": workloads.update_pod,
    "services": network.update_service,
}
_UPDATE_COUNTED: dict[str, Callable[[Json, Json], None]] = {
    "daemonsets.apps": workloads.update_daemon_set,
}
_EMPTY_STATUS: dict[str, Json] = {
    "replicasets.apps": {"replicas": 0},
    "replicationcontrollers": {"replicas": 0},
    "statefulsets.apps": {"replicas": 0, "availableReplicas": 0},
    "daemonsets.apps": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "horizontalpodautoscalers.autoscaling": {"desiredReplicas": 0, "currentMetrics": None},
    "poddisruptionbudgets.policy": {
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    },
    "services": {"loadBalancer": {}},
    "ingresses.networking.k8s.io": {"loadBalancer": {}},
}
_KEEPS_LABELS = {"deployments.apps"}


def prepare_create(resource: ResourceDef, obj: Json) -> None:
    """Set what the server decides on a new object."""
    metadata = obj["metadata"]
    if resource.custom is not None:
        metadata["generation"] = 1
        if "status" in resource.subresources:
            obj.pop("status", None)
        return
    if resource.strategy.generation:
        metadata["generation"] = 1
    key = resource.group_resource
    if resource.strategy.status and key not in ("nodes", "apiservices.apiregistration.k8s.io"):
        obj["status"] = dict(_EMPTY_STATUS.get(key, {}))
    own = _CREATE.get(key)
    if own is not None:
        own(obj)


def prepare_update(resource: ResourceDef, new: Json, old: Json, subresource: str) -> None:
    """Keep what this kind of update may not change and count the generation."""
    key = resource.group_resource
    if subresource in ("status", "approval"):
        _keep_all_but_status(resource, new, old)
        return
    if subresource == "finalize":
        finalizers = (new.get("spec") or {}).get("finalizers")
        new["status"] = old.get("status", {})
        spec = dict(old.get("spec") or {})
        spec.pop("finalizers", None)
        if finalizers:
            spec["finalizers"] = finalizers
        new["spec"] = spec
        return
    if subresource == "" and ("status" in resource.subresources):
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
    own = _UPDATE.get(key)
    if own is not None:
        own(new, old)
    _count_generation(resource, new, old)
    counted = _UPDATE_COUNTED.get(key)
    if counted is not None:
        counted(new, old)


def _keep_all_but_status(resource: ResourceDef, new: Json, old: Json) -> None:
    status = new.get("status")
    for field in set(new) | set(old):
        if field in ("status", "metadata", "kind", "apiVersion"):
            continue
        if field in old:
            new[field] = old[field]
        else:
            new.pop(field, None)
    if status is None and resource.custom is None:
        new["status"] = {}
    if resource.custom is not None:
        managed = new["metadata"].get("managedFields")
        version = new["metadata"].get("resourceVersion")
        new["metadata"] = dict(old["metadata"])
        for field, value in (("managedFields", managed), ("resourceVersion", version)):
            if value is not None:
                new["metadata"][field] = value
    elif resource.group_resource in _KEEPS_LABELS:
        labels = old["metadata"].get("labels")
        if labels is not None:
            new["metadata"]["labels"] = labels
        else:
            new["metadata"].pop("labels", None)


def _count_generation(resource: ResourceDef, new: Json, old: Json) -> None:
    metadata, before = new["metadata"], old["metadata"]
    if "generation" in before:
        metadata["generation"] = before["generation"]
    elif resource.strategy.generation or resource.custom is not None:
        metadata.pop("generation", None)
    if resource.custom is None and not resource.strategy.generation:
        return
    ignored = {"metadata", "kind", "apiVersion"}
    if "status" in resource.subresources:
        ignored.add("status")
    changed = any(new.get(field) != old.get(field) for field in (set(new) | set(old)) - ignored)
    if resource.group_resource == "deployments.apps":
        changed = changed or (metadata.get("annotations") or {}) != (
            before.get("annotations") or {}
        )
    if resource.plural == "priorityclasses":
        return
    if changed:
        metadata["generation"] = before.get("generation", 0) + 1
