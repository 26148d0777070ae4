"""The controllers of workloads: what each takes from the store."""

from __future__ import annotations

import time
from typing import Any

from labsandbox.client import Resource, resources
from labsandbox.controllers import (
    cronjob,
    daemonset,
    deployment,
    job,
    lost,
    objects,
    replicaset,
    statefulset,
)
from labsandbox.controllers.actions import Action
from labsandbox.controllers.engine import Controller, Key
from labsandbox.controllers.store import Store
from labsandbox.controllers.waking import Wakes, itself_and_owned, key_of

Object = dict[str, Any]


def _statefulset(store: Store, key: Key) -> list[Action]:
    found = store[resources.STATEFULSETS].objects.get(key)
    if found is None:
        return []
    return statefulset.reconcile(
        found,
        store[resources.PODS].owned(found["metadata"]["uid"]),
        store[resources.PVCS].of(key[0]),
        store[resources.CONTROLLERREVISIONS].owned(found["metadata"]["uid"]),
        time.time(),
    )


def _replicaset(store: Store, key: Key) -> list[Action]:
    found = store[resources.REPLICASETS].objects.get(key)
    if found is None:
        return []
    return replicaset.reconcile(found, store[resources.PODS].of(key[0]), time.time())


def _replicationcontroller(store: Store, key: Key) -> list[Action]:
    kind = resources.REPLICATIONCONTROLLERS
    found = store[kind].objects.get(key)
    if found is None:
        return []
    return replicaset.reconcile(found, store[resources.PODS].of(key[0]), time.time(), kind)


def _wakes_replicas(store: Store, kind: Resource) -> Wakes:
    """Wake for pods that nobody manages, too: they may be adopted."""
    plain = itself_and_owned(kind, resources.PODS)

    def wakes(resource: Resource, obj: Object) -> list[Key]:
        if resource != resources.PODS or objects.owner_of(obj) is not None:
            return plain(resource, obj)
        labels = obj["metadata"].get("labels")
        return [
            key_of(found)
            for found in store[kind].of(obj["metadata"]["namespace"])
            if objects.matches(replicaset.selector_of(found, kind), labels)
        ]

    return wakes


def _deployment(store: Store, key: Key) -> list[Action]:
    found = store[resources.DEPLOYMENTS].objects.get(key)
    if found is None:
        return []
    sets = store[resources.REPLICASETS].owned(found["metadata"]["uid"])
    pods = [pod for rs in sets for pod in store[resources.PODS].owned(rs["metadata"]["uid"])]
    return deployment.reconcile(found, sets, pods, time.time())


def _daemonset(store: Store, key: Key) -> list[Action]:
    found = store[resources.DAEMONSETS].objects.get(key)
    if found is None:
        return []
    return daemonset.reconcile(
        found,
        store[resources.PODS].owned(found["metadata"]["uid"]),
        list(store[resources.NODES].everything()),
        store[resources.CONTROLLERREVISIONS].owned(found["metadata"]["uid"]),
        time.time(),
    )


def _job(store: Store, key: Key) -> list[Action]:
    found = store[resources.JOBS].objects.get(key)
    if found is None:
        return []
    pods = store[resources.PODS].owned(found["metadata"]["uid"])
    return job.reconcile(found, pods, time.time())


def _orphan(store: Store, key: Key) -> list[Action]:
    """Release a tracked pod whose Job is gone: nobody counts it any more."""
    pod = store[resources.PODS].objects.get(key)
    if pod is None or not job.is_tracked(pod):
        return []
    owner = objects.owner_of(pod)
    if owner is not None and owner["uid"] in store[resources.JOBS].by_uid:
        return []
    return [job.release(pod)]


def _wakes_orphan(resource: Resource, obj: Object) -> list[Key]:
    if resource == resources.PODS and job.is_tracked(obj) and objects.is_deleted(obj):
        return [(obj["metadata"]["namespace"], obj["metadata"]["name"])]
    return []


def _cronjob(store: Store, key: Key) -> list[Action]:
    found = store[resources.CRONJOBS].objects.get(key)
    if found is None:
        return []
    jobs = store[resources.JOBS].owned(found["metadata"]["uid"])
    return cronjob.reconcile(found, jobs, time.time())


class _Lost:
    """Remembers since when a node that pods name has been missing."""

    def __init__(self) -> None:
        self.missing_since: dict[str, float] = {}

    def decide(self, store: Store, key: Key) -> list[Action]:
        """Return the pods to remove."""
        now = time.time()
        nodes = {node["metadata"]["name"] for node in store[resources.NODES].everything()}
        pods = list(store[resources.PODS].everything())
        named = {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}
        missing = named - nodes
        self.missing_since = {n: self.missing_since.get(n, now) for n in missing}
        return lost.reconcile(pods, nodes, self.missing_since, now)


def _wakes_lost(resource: Resource, obj: Object) -> list[Key]:
    is_ended = resource == resources.PODS and objects.phase(obj) in ("Succeeded", "Failed")
    return [(None, "pods")] if is_ended or resource == resources.NODES else []


def _wakes_deployment(store: Store) -> Wakes:
    """Wake for pods too: a deployment that recreates waits for the last old one."""
    plain = itself_and_owned(resources.DEPLOYMENTS, resources.REPLICASETS)

    def wakes(resource: Resource, obj: Object) -> list[Key]:
        if resource != resources.PODS:
            return plain(resource, obj)
        owner = objects.owner_of(obj)
        if owner is None or owner["kind"] != "ReplicaSet" or not objects.is_deleted(obj):
            return []
        rs = store[resources.REPLICASETS].by_uid.get(owner["uid"])
        return plain(resources.REPLICASETS, rs) if rs else []

    return wakes


def make(store: Store) -> list[Controller]:
    """Return the controllers of workloads."""
    pods, history = resources.PODS, resources.CONTROLLERREVISIONS
    return [
        Controller(
            "statefulset-controller",
            _statefulset,
            itself_and_owned(resources.STATEFULSETS, pods, history),
        ),
        Controller(
            "replicaset-controller", _replicaset, _wakes_replicas(store, resources.REPLICASETS)
        ),
        Controller(
            "replication-controller",
            _replicationcontroller,
            _wakes_replicas(store, resources.REPLICATIONCONTROLLERS),
        ),
        Controller("deployment-controller", _deployment, _wakes_deployment(store)),
        Controller("daemonset-controller", _daemonset, _wakes_daemonset(store)),
        Controller("job-controller", _job, itself_and_owned(resources.JOBS, pods)),
        Controller("job-orphan-controller", _orphan, _wakes_orphan),
        Controller(
            "cronjob-controller", _cronjob, itself_and_owned(resources.CRONJOBS, resources.JOBS)
        ),
        Controller("pod-garbage-collector", _Lost().decide, _wakes_lost),
    ]


def _wakes_daemonset(store: Store) -> Wakes:
    plain = itself_and_owned(resources.DAEMONSETS, resources.PODS, resources.CONTROLLERREVISIONS)

    def wakes(resource: Resource, obj: Object) -> list[Key]:
        if resource == resources.NODES:
            return list(store[resources.DAEMONSETS].objects)
        return plain(resource, obj)

    return wakes
