"""Puts columns and rows together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from labsandbox.apiserver.printers import cluster, network, rare, server, workload
from labsandbox.apiserver.printers.cells import Json, at, created, name
from labsandbox.apiserver.printers.columns import (
    CUSTOM_DEFAULT,
    DEFAULT,
    Column,
    columns_of,
    default_columns,
)
from labsandbox.apiserver.printers.custom import custom_columns, custom_row
from labsandbox.apiserver.printers.pod import pod_conditions, pod_row

META = "meta.k8s.io/v1"
GENERATION = "deprecated.daemonset.template.generation"
ROWS: dict[str, Callable[[Json], list[Any]]] = {
    "apiservices.apiregistration.k8s.io": server.api_service_row,
    "certificatesigningrequests.certificates.k8s.io": cluster.signing_request_row,
    "clusterrolebindings.rbac.authorization.k8s.io": cluster.binding_row,
    "componentstatuses": server.component_status_row,
    "configmaps": cluster.config_map_row,
    "controllerrevisions.apps": workload.controller_revision_row,
    "cronjobs.batch": workload.cron_job_row,
    "daemonsets.apps": workload.daemon_set_row,
    "deployments.apps": workload.deployment_row,
    "endpoints": network.endpoints_row,
    "endpointslices.discovery.k8s.io": network.endpoint_slice_row,
    "events": cluster.event_row,
    "horizontalpodautoscalers.autoscaling": workload.autoscaler_row,
    "ingresses.networking.k8s.io": network.ingress_row,
    "jobs.batch": workload.job_row,
    "leases.coordination.k8s.io": cluster.lease_row,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": cluster.webhooks_row,
    "namespaces": cluster.namespace_row,
    "networkpolicies.networking.k8s.io": network.network_policy_row,
    "nodes": cluster.node_row,
    "persistentvolumeclaims": cluster.volume_claim_row,
    "persistentvolumes": cluster.volume_row,
    "poddisruptionbudgets.policy": workload.disruption_budget_row,
    "pods": pod_row,
    "podtemplates": workload.pod_template_row,
    "priorityclasses.scheduling.k8s.io": cluster.priority_class_row,
    "replicasets.apps": workload.replica_set_row,
    "replicationcontrollers": workload.replication_controller_row,
    "resourcequotas": cluster.quota_row,
    "rolebindings.rbac.authorization.k8s.io": cluster.binding_row,
    "secrets": cluster.secret_row,
    "serviceaccounts": cluster.service_account_row,
    "services": network.service_row,
    "statefulsets.apps": workload.stateful_set_row,
    "storageclasses.storage.k8s.io": cluster.storage_class_row,
    "validatingadmissionpolicies.admissionregistration.k8s.io": cluster.policy_row,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": cluster.webhooks_row,
    **rare.ROWS,
}


class Printable(Protocol):
    """What a table must know of a resource."""

    @property
    def group_resource(self) -> str: ...

    @property
    def custom(self) -> Any: ...


def table(
    resource: Printable,
    objs: list[Json],
    crd_columns: list[Json] | None = None,
    include_object: str = "Metadata",
    *,
    columns: bool = True,
) -> Json:
    """Show objects as a Table; `crd_columns` are a custom resource's additionalPrinterColumns.

    `include_object` is None, Metadata or Object; a watch sends its columns only once.
    """
    heads, cells = _layout(resource, crd_columns)
    is_pod = resource.group_resource == "pods"
    rows = []
    for obj in objs:
        row: Json = {"cells": cells(obj)}
        conditions = pod_conditions(obj) if is_pod else None
        if conditions:
            row["conditions"] = conditions
        row["object"] = _row_object(_internal(obj, resource.group_resource), include_object)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": META,
        "metadata": {},
        "columnDefinitions": list(heads) if columns else None,
        "rows": rows,
    }


def partial(obj: Json) -> Json:
    """The object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": META,
        "metadata": obj.get("metadata") or {},
    }


def _layout(
    resource: Printable, crd_columns: list[Json] | None
) -> tuple[tuple[Column, ...], Callable[[Json], list[Any]]]:
    if resource.custom is not None:
        definitions = crd_columns
        if not definitions:
            return default_columns(*CUSTOM_DEFAULT), lambda obj: [name(obj), created(obj)]
        return custom_columns(definitions), lambda obj: custom_row(obj, definitions)
    key = "events" if resource.group_resource.startswith("events.") else resource.group_resource
    heads, cells = columns_of(key), ROWS.get(key)
    if heads is None or cells is None:
        return default_columns(*DEFAULT), _default_row
    return heads, cells


def _default_row(obj: Json) -> list[Any]:
    return [name(obj), at(obj, "metadata", "creationTimestamp")]


def _internal(obj: Json, group_resource: str) -> Json:
    """The object as tables see it: without what only one version of the API writes into it."""
    annotations = at(obj, "metadata", "annotations")
    if group_resource != "daemonsets.apps" or not annotations or GENERATION not in annotations:
        return obj
    metadata = dict(obj["metadata"])
    kept = {key: value for key, value in annotations.items() if key != GENERATION}
    metadata["annotations"] = kept
    if not kept:
        del metadata["annotations"]
    return {**obj, "metadata": metadata}


def _row_object(obj: Json, include_object: str) -> Json | None:
    if include_object == "None":
        return None
    return obj if include_object == "Object" else partial(obj)
