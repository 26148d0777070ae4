"""Odd and valid objects that programs stumble over; one seed always makes the same ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from labsandbox.client import Resource, resources

Object = dict[str, Any]
NUMBERS = ("²", "٣", "70000", "-1", "0", "1e9", "0x1f", "9" * 5000, "", " 80", "80 ", "+80", "½")
TEXTS = (*NUMBERS, "x:70000", "127.0.0.1:99999", ":", "::1:²", "☃" * 100, "\u202e", "a\tb", "null")
LABELS = ("1", "007", "9" * 63, "A.b-C_d", "")
GATEWAY = "hpecp.hpe.com/hpecp-internal-gateway"
NOWHERE = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}
CONTAINER = {"name": "c", "image": "no-such-image"}
NETWORKPOLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")


def make(count: int, seed: int) -> Iterator[tuple[Resource, Object]]:
    """Return odd objects; the same seed makes the same ones."""
    chance = random.Random(seed)
    makers: tuple[Callable[[random.Random], tuple[Resource, Object]], ...] = (
        _service, _service, _slice, _pod, _deployment, _statefulset, _job, _cronjob, _claim,
        _quota, _map,
    )  # fmt: skip
    for number in range(count):
        resource, obj = chance.choice(makers)(chance)
        meta = obj.setdefault("metadata", {})
        meta["name"] = f"odd-{number}"
        meta["annotations"] = {**meta.get("annotations", {}), "odd": chance.choice(TEXTS)}
        meta["labels"] = {**meta.get("labels", {}), "app": chance.choice(LABELS)}
        if chance.random() < 0.3:
            meta["ownerReferences"] = [_owner(chance)]
        if chance.random() < 0.1:
            meta["finalizers"] = [f"odd.example/{number}"]
        yield resource, copy.deepcopy(obj)  # parts of it are constants of this module


def _owner(chance: random.Random) -> Object:
    version, kind = chance.choice(
        (("v1", "Pod"), ("no.such/v9", "Nothing"), ("apps/v1", "ReplicaSet"), ("a/b", "²"))
    )
    owner: Object = {"apiVersion": version, "kind": kind, "name": "²", "uid": chance.choice(TEXTS)}
    owner["uid"] = owner["uid"] or "u"
    return owner


def _service(chance: random.Random) -> tuple[Resource, Object]:
    notes = {
        f"hpecp-internal-gateway/{chance.choice((*range(70, 90), *('x', '8.0', '00080')))}":
            chance.choice(TEXTS)
        for _ in range(3)
    }  # fmt: skip
    spec: Object = {"ports": [{"port": chance.randint(1, 65535), "name": "http-x"}]}
    kind = chance.choice(("plain", "headless", "external", "selector", "udp"))
    if kind == "headless":
        spec = {"clusterIP": "None"}
    elif kind == "external":
        spec = {"type": "ExternalName", "externalName": "example.com"}
    elif kind == "selector":
        spec["selector"] = {"app": chance.choice(LABELS)}
    elif kind == "udp":
        spec["ports"][0]["protocol"] = "UDP"
    return resources.SERVICES, {
        "metadata": {"annotations": notes, "labels": {GATEWAY: "true"}},
        "spec": spec,
    }


def _slice(chance: random.Random) -> tuple[Resource, Object]:
    rows: list[Object] = [{"addresses": [f"10.244.0.{chance.randint(1, 250)}"]}]
    if chance.random() < 0.5:
        rows[0]["conditions"] = {}
    return resources.ENDPOINTSLICES, {
        "metadata": {"labels": {"kubernetes.io/service-name": "good"}},
        "addressType": "IPv4",
        "endpoints": chance.choice((rows, [])),
        "ports": chance.choice(([], [{}], [{"name": "http-x"}])),
    }


def _pod(chance: random.Random) -> tuple[Resource, Object]:
    operator = chance.choice(("Gt", "Lt", "In", "NotIn", "Exists"))
    row: Object = {"key": "kubernetes.io/hostname", "operator": operator}
    if operator != "Exists":
        row["values"] = [chance.choice(NUMBERS[:8])]
    term = {"matchExpressions": [row, {"key": "no.such/label", "operator": "Exists"}]}
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
        }
    }
    container = dict(CONTAINER)
    container["resources"] = {"requests": {"cpu": chance.choice(("1e3", "0", "1n", "9E"))}}
    return resources.PODS, {"spec": {"containers": [container], "affinity": affinity}}


def _template(chance: random.Random, **more: Any) -> Object:
    return {
        "metadata": {"labels": {"odd": "1"}},
        "spec": {"containers": [CONTAINER], **NOWHERE, **more},
    }


def _deployment(chance: random.Random) -> tuple[Resource, Object]:
    return resources.DEPLOYMENTS, {
        "metadata": {"annotations": {"deployment.kubernetes.io/revision": chance.choice(TEXTS)}},
        "spec": {
            "replicas": chance.choice((0, 0, 1)),
            "paused": chance.choice((True, False)),
            "selector": {"matchLabels": {"odd": "1"}},
            "strategy": {
                "rollingUpdate": {"maxSurge": chance.choice(("0%", "100%", 7)), "maxUnavailable": 1}
            },
            "template": _template(chance),
        },
    }


def _statefulset(chance: random.Random) -> tuple[Resource, Object]:
    return resources.STATEFULSETS, {
        "spec": {
            "replicas": chance.choice((0, 1)),
            "serviceName": "²" if chance.random() < 0.3 else "good",
            "selector": {"matchLabels": {"odd": "1"}},
            "template": _template(chance),
            "updateStrategy": {"type": chance.choice(("OnDelete", "RollingUpdate"))},
        },
    }


def _job(chance: random.Random) -> tuple[Resource, Object]:
    indexed = chance.choice(("Indexed", "NonIndexed"))
    return resources.JOBS, {
        "spec": {
            "suspend": chance.choice((True, True, False)),
            "completionMode": indexed,
            "completions": chance.choice((0, 1, 100_000)) if indexed == "Indexed" else 1,
            "parallelism": chance.choice((0, 1)),
            "activeDeadlineSeconds": chance.choice((1, 10**9)),
            "template": _template(chance, restartPolicy="Never"),
        }
    }


def _cronjob(chance: random.Random) -> tuple[Resource, Object]:
    schedules = (
        "0 0 30 2 *",
        "*/59 * * * *",
        "@every 1h",
        "@yearly",
        "TZ=UTC 5 4 * * 0",
        "? ? * * 1",
    )
    return resources.CRONJOBS, {
        "metadata": {"annotations": {"batch.kubernetes.io/cronjob-scheduled-timestamp": "²"}},
        "spec": {
            "schedule": chance.choice(schedules),
            "startingDeadlineSeconds": chance.choice((0, 10**9)),
            "suspend": chance.choice((True, False)),
            "jobTemplate": {"spec": {"template": _template(chance, restartPolicy="Never")}},
        },
    }


def _claim(chance: random.Random) -> tuple[Resource, Object]:
    return resources.PVCS, {
        "metadata": {"annotations": {"volume.kubernetes.io/selected-node": chance.choice(TEXTS)}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": chance.choice(("none-such", "")),
            "volumeName": chance.choice(("", "no-such-volume")),
            "resources": {"requests": {"storage": chance.choice(("1", "1e3", "9E", "1Ei"))}},
        },
    }


def _quota(chance: random.Random) -> tuple[Resource, Object]:
    names = ("count/no.such", "requests.example.com/gpu", "pods", "count/odd.example.com")
    hard = {chance.choice(names): chance.choice(("100000", "9E", "1e6"))}
    return resources.RESOURCEQUOTAS, {"spec": {"hard": hard}}


def _map(chance: random.Random) -> tuple[Resource, Object]:
    return resources.CONFIGMAPS, {"data": {"k": chance.choice(TEXTS)}}
