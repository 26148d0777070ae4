"""The controllers of nodes, disruption budgets and signing requests: what each takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from labsandbox.client import Resource, resources
from labsandbox.controllers import disruption, heartbeat, objects, signing
from labsandbox.controllers.actions import Action
from labsandbox.controllers.engine import Controller, Key
from labsandbox.controllers.store import NODE_LEASES, Store
from labsandbox.controllers.waking import Wakes, itself, key_of

Object = dict[str, Any]
Decide = Callable[[Store, Key], list[Action]]

SCALED = (
    resources.REPLICASETS,
    resources.DEPLOYMENTS,
    resources.STATEFULSETS,
    resources.REPLICATIONCONTROLLERS,
)
_LONGEST_LIFE = timedelta(days=365)


def _budget(store: Store, key: Key) -> list[Action]:
    found = store[resources.PDBS].objects.get(key)
    if found is None:
        return []

    def scale(owner: Object) -> tuple[str, int] | None:
        for resource in SCALED:
            holder = store[resource].by_uid.get(owner["uid"])
            if holder is None:
                continue
            above = objects.owner_of(holder)
            if above is not None:
                return scale(above)
            return owner["uid"], holder["spec"].get("replicas", 1)
        return None

    return disruption.reconcile(found, store[resources.PODS].of(key[0]), scale, time.time())


def _wakes_budget(store: Store) -> Wakes:
    plain = itself(resources.PDBS)
    scaled = {(resource.group, resource.plural) for resource in SCALED}

    def wakes(resource: Resource, obj: Object) -> list[Key]:
        there = store[resources.PDBS].of(obj["metadata"].get("namespace"))
        if not there or resource == resources.PDBS:
            return plain(resource, obj)
        if resource == resources.PODS:
            labels = obj["metadata"].get("labels")
            return [key_of(b) for b in there if objects.matches(b["spec"].get("selector"), labels)]
        return list(map(key_of, there)) if (resource.group, resource.plural) in scaled else []

    return wakes


def _node() -> Decide:
    # A node is given its time from when these controllers began: before, they heard of nobody.
    begun = time.time()

    def decide(store: Store, key: Key) -> list[Action]:
        found = store[resources.NODES].objects.get(key)
        if found is None:
            return []
        lease = store[resources.LEASES].objects.get((NODE_LEASES, key[1])) or {}
        ready = objects.condition(found, "Ready") or {}
        heard = [(lease.get("spec") or {}).get("renewTime"), ready.get("lastHeartbeatTime")]
        renewed = max(begun, *(objects.moment(text) for text in heard))
        return heartbeat.reconcile(found, renewed, time.time())

    return decide


def _wakes_node(resource: Resource, obj: Object) -> list[Key]:
    is_node = resource in (resources.NODES, resources.LEASES)
    return [(None, obj["metadata"]["name"])] if is_node else []


def _request(state: Path) -> Decide:
    def sign(request: bytes, usages: frozenset[str], seconds: int | None) -> str:
        # Imported at first use: it loads the whole of `cryptography`.
        from labsandbox import certificates

        life = min(timedelta(seconds=seconds), _LONGEST_LIFE) if seconds else _LONGEST_LIFE
        authority = certificates.load_authority(state / "pki")
        return certificates.sign_request(request, authority, usages, life)

    def decide(store: Store, key: Key) -> list[Action]:
        found = store[resources.CSRS].objects.get(key)
        # Without the authority's key the signers are not ours: a real control plane has its own.
        if found is None or not (state / "pki" / "ca.key").exists():
            return []
        return signing.reconcile(found, sign, time.time())

    return decide


def make(store: Store, state: Path) -> list[Controller]:
    """Return the controllers of the cluster itself."""
    return [
        Controller("disruption-controller", _budget, _wakes_budget(store)),
        Controller("node-lifecycle-controller", _node(), _wakes_node),
        Controller("csrsigning", _request(state), itself(resources.CSRS)),
    ]
