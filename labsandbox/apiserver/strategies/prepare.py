"""The rules all kinds share, and the table of those that have their own."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.strategies import cluster, network, requests, workloads
from labsandbox.apiserver.strategies.gates import drop_disabled

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
    "persistentvolumeclaims": cluster.update_claim,
    "pods": workloads.update_pod,
    requests.REQUESTS: requests.keep_request,
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
    drop_disabled(key, obj, None)
    if resource.strategy.status and key not in ("nodes", "apiservices.apiregistration.k8s.io"):
        obj["status"] = dict(_EMPTY_STATUS.get(key, {}))
    own = _CREATE.get(key)
    if own is not None:
        own(obj)


def prepare_update(resource: ResourceDef, new: Json, old: Json, subresource: str) -> None:
    """Keep what this kind of update may not change and count the generation."""
    key = resource.group_resource
    if "generation" in old["metadata"]:
        new["metadata"]["generation"] = old["metadata"]["generation"]
    else:
        new["metadata"].pop("generation", None)
    if subresource in ("status", "approval"):
        _keep_all_but_status(resource, new, old)
        if key == requests.REQUESTS:
            requests.stamp_conditions(new, old)
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
    if resource.custom is None:
        drop_disabled(key, new, old)
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


def _same(new: Any, old: Any) -> bool:
    """Whether two values are alike for Go, to which an empty list is none."""
    if new == old or all(value is None or value == [] for value in (new, old)):
        return True
    if isinstance(new, dict) and isinstance(old, dict):
        return all(_same(new.get(key), old.get(key)) for key in {*new, *old})
    if isinstance(new, list) and isinstance(old, list):
        return len(new) == len(old) and all(map(_same, new, old))
    return False


def _count_generation(resource: ResourceDef, new: Json, old: Json) -> None:
    metadata, before = new["metadata"], old["metadata"]
    if resource.custom is None and not resource.strategy.generation:
        return
    ignored = {"metadata", "kind", "apiVersion"}
    if "status" in resource.subresources:
        ignored.add("status")
    same = _same if resource.custom is None else operator.eq
    fields = (set(new) | set(old)) - ignored
    changed = not all(same(new.get(field), old.get(field)) for field in fields)
    if resource.group_resource == "deployments.apps":
        changed = changed or (metadata.get("annotations") or {}) != (
            before.get("annotations") or {}
        )
    if resource.plural == "priorityclasses":
        return
    if changed:
        metadata["generation"] = before.get("generation", 0) + 1
