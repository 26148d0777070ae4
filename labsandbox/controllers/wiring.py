"""Which controllers there are: what each looks at, and what makes it look."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labsandbox.client import Resource, resources
from labsandbox.controllers import accounts, cluster, endpoints, namespace, storage, workloads
from labsandbox.controllers.actions import Action
from labsandbox.controllers.engine import Controller, Key
from labsandbox.controllers.store import Store
from labsandbox.controllers.waking import Wakes, key_of

Object = dict[str, Any]


def _endpoints(store: Store, key: Key) -> list[Action]:
    service = store[resources.SERVICES].objects.get(key)
    current = store[resources.ENDPOINTS].objects.get(key)
    if service is None:
        return endpoints.leftover(current)
    slices = [
        obj
        for obj in store[resources.ENDPOINTSLICES].of(key[0])
        if (obj["metadata"].get("labels") or {}).get(endpoints.SERVICE_NAME) == key[1]
    ]
    pods = store[resources.PODS].of(key[0])
    return endpoints.reconcile(service, pods, current, slices, time.time())


def _wakes_endpoints(store: Store) -> Wakes:
    def wakes(resource: Resource, obj: Object) -> list[Key]:
        meta = obj["metadata"]
        if resource in (resources.SERVICES, resources.ENDPOINTS):
            return [key_of(obj)]
        if resource == resources.ENDPOINTSLICES:
            name = (meta.get("labels") or {}).get(endpoints.SERVICE_NAME)
            return [(meta["namespace"], name)] if name else []
        if resource == resources.PODS:
            labels = meta.get("labels") or {}
            return [
                key_of(service)
                for service in store[resources.SERVICES].of(meta["namespace"])
                if (selector := service["spec"].get("selector"))
                and all(labels.get(k) == v for k, v in selector.items())
            ]
        return []

    return wakes


def _account(store: Store, key: Key) -> list[Action]:
    found = store[resources.NAMESPACES].objects.get((None, key[1]))
    if found is None:
        return []
    account = store[resources.SERVICEACCOUNTS].objects.get((key[1], "default"))
    return accounts.reconcile_account(found, account)


def _wakes_account(resource: Resource, obj: Object) -> list[Key]:
    if resource == resources.NAMESPACES:
        return [(None, obj["metadata"]["name"])]
    if resource == resources.SERVICEACCOUNTS and obj["metadata"]["name"] == "default":
        return [(None, obj["metadata"]["namespace"])]
    return []


def _ca(authority: str) -> Callable[[Store, Key], list[Action]]:
    def decide(store: Store, key: Key) -> list[Action]:
        found = store[resources.NAMESPACES].objects.get((None, key[1]))
        if found is None:
            return []
        known = store.caches.get(("", "configmaps"))
        has_it = known is not None and (key[1], accounts.CA_NAME) in known.objects
        return accounts.reconcile_ca(found, has_it, None, authority)

    return decide


def _wakes_ca(resource: Resource, obj: Object) -> list[Key]:
    if resource == resources.NAMESPACES:
        return [(None, obj["metadata"]["name"])]
    if resource.plural == "configmaps" and obj["metadata"]["name"] == accounts.CA_NAME:
        return [(None, obj["metadata"]["namespace"])]
    return []


def _namespace(store: Store, key: Key) -> list[Action]:
    found = store[resources.NAMESPACES].objects.get((None, key[1]))
    if found is None:
        return []
    content = []
    for resource in store.namespaced:
        cache = store.caches.get((resource.group, resource.plural))
        if cache is not None:
            content.append((resource, cache.of(key[1])))
    return namespace.reconcile(found, content, time.time())


def _wakes_namespace(store: Store) -> Wakes:
    def wakes(resource: Resource, obj: Object) -> list[Key]:
        name = obj["metadata"].get("namespace")
        if resource == resources.NAMESPACES:
            name = obj["metadata"]["name"]
        found = store[resources.NAMESPACES].objects.get((None, name)) if name else None
        if found is not None and found["metadata"].get("deletionTimestamp"):
            return [(None, str(name))]
        return []

    return wakes


def make(store: Store, authority: str, state: Path) -> list[Controller]:
    """Return all controllers."""
    return [
        Controller("endpoints-controller", _endpoints, _wakes_endpoints(store)),
        Controller("serviceaccount-controller", _account, _wakes_account),
        Controller("root-ca-cert-publisher", _ca(authority), _wakes_ca),
        Controller("namespace-controller", _namespace, _wakes_namespace(store)),
        *workloads.make(store),
        *storage.make(store, state),
        *cluster.make(store, state),
    ]
