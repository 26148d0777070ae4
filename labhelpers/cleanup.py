"""Remove what one lab made, by its label; safe to run twice."""

from __future__ import annotations

from kubernetes import client

from labhelpers.cluster import KUBEDIRECTOR, Clients
from labhelpers.wait import wait

__all__ = ["LABEL", "labels", "remove"]

LABEL = "labs.house-on-the-lake/lab"


def labels(lab: str) -> dict[str, str]:
    """Return the labels that mark an object as made by a lab.

    >>> labels("core/02")
    {'labs.house-on-the-lake/lab': 'core-02'}
    """
    return {LABEL: lab.replace("/", "-")}


def remove(clients: Clients, lab: str, deadline: float = 90) -> list[str]:
    """Delete every kdcluster, ConfigMap and Secret the lab labelled; return what they were."""
    selector = ",".join(f"{key}={value}" for key, value in labels(lab).items())
    where = {**KUBEDIRECTOR, "namespace": clients.namespace, "plural": "kubedirectorclusters"}

    def clusters() -> list[str]:
        found = clients.custom.list_namespaced_custom_object(label_selector=selector, **where)
        return [item["metadata"]["name"] for item in found["items"]]

    removed = []
    for name in clusters():
        clients.custom.delete_namespaced_custom_object(name=name, **where)
        removed.append(f"kdcluster {name}")
    wait(
        f"the kdclusters of {lab} to be gone",
        clusters,
        until=lambda left: not left,
        deadline=deadline,
        ignoring=(OSError, client.ApiException),
    )
    core, namespace = clients.core, clients.namespace
    for config_map in core.list_namespaced_config_map(namespace, label_selector=selector).items:
        core.delete_namespaced_config_map(config_map.metadata.name, namespace)
        removed.append(f"configmap {config_map.metadata.name}")
    for secret in core.list_namespaced_secret(namespace, label_selector=selector).items:
        core.delete_namespaced_secret(secret.metadata.name, namespace)
        removed.append(f"secret {secret.metadata.name}")
    return removed
