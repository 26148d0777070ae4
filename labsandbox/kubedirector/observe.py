"""Gathering what a reconcile pass looks at, from the store."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping

from labsandbox.client.resources import (
    CONFIGMAPS,
    KDAPPS,
    KDCLUSTERS,
    KDCONFIGS,
    KDSTATUSBACKUPS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
)
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector.configmeta import Connected
from labsandbox.kubedirector.connection import compute_hash
from labsandbox.kubedirector.model import (
    GLOBAL_CONFIG,
    GlobalConfig,
    Object,
    connections_of,
    read_settings,
)
from labsandbox.kubedirector.reconcile.plan import Observed, Report
from labsandbox.kubedirector.store import Store

KINDS = {"clusters": KDCLUSTERS, "configmaps": CONFIGMAPS, "secrets": SECRETS}
_WORDS = {"clusters": "kdcluster", "configmaps": "ConfigMap", "secrets": "Secret"}


def observe(
    store: Store,
    system_namespace: str,
    cluster: Object,
    reports: Mapping[str, Report],
    busy: frozenset[str],
) -> Observed:
    """Return everything that matters to a kdcluster now."""
    namespace, name = cluster["metadata"]["namespace"], cluster["metadata"]["name"]

    def lookup(kind: str, connected: str) -> Object | None:
        return store.get(KINDS[kind], namespace, connected)

    def find_app(owner: Object) -> Object | None:
        return apps.find(owner, system_namespace, lambda ns, app: store.get(KDAPPS, ns, app))

    found = {
        kind: [obj for n in connections_of(cluster, kind) if (obj := lookup(kind, n))]
        for kind in KINDS
    }
    clusters = [(other, app) for other in found["clusters"] if (app := find_app(other))]
    return Observed(
        cluster=cluster,
        app=find_app(cluster),
        settings=settings_of(store, system_namespace),
        services=store.of_cluster(SERVICES, namespace, name),
        stateful_sets=store.of_cluster(STATEFULSETS, namespace, name),
        pods=store.of_cluster(PODS, namespace, name),
        connected=Connected(clusters, found["configmaps"], found["secrets"]),
        connection_hash=compute_hash(cluster, lookup),
        missing=tuple(
            f"{_WORDS[kind]} {n}"
            for kind in KINDS
            for n in connections_of(cluster, kind)
            if lookup(kind, n) is None
        ),
        dependents=tuple(dependents(store, namespace, "clusters", name)),
        backup=store.get(KDSTATUSBACKUPS, namespace, name),
        reports=reports,
        busy=busy,
        token=hashlib.md5(str(uuid.uuid4()).encode(), usedforsecurity=False).hexdigest(),
    )


def settings_of(store: Store, system_namespace: str) -> GlobalConfig:
    """Return the platform's settings."""
    return read_settings(store.get(KDCONFIGS, system_namespace, GLOBAL_CONFIG))


def dependents(store: Store, namespace: str, kind: str, name: str) -> list[str]:
    """Return the kdclusters that connect to an object.

    differs: only those in the object's own namespace; the original matches by name alone.
    """
    return sorted(
        cluster["metadata"]["name"]
        for cluster in store.all(KDCLUSTERS, namespace)
        if name in connections_of(cluster, kind)
    )
