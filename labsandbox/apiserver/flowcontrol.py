"""The flow schemas and priority levels every cluster starts with.

Nothing here queues by them (one process serves one class); clients list them, and tools that read
them must find what they know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
GROUP = "flowcontrol.apiserver.k8s.io"
_ANNOTATIONS = {"apf.kubernetes.io/autoupdate-spec": "true"}
_LEVELS = (
    ("global-default", 20, 50, (128, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("system", 30, 33, (64, 6, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
)
"""name, shares, percentage to lend, (queues, hand size, queue length)"""


def _user(name: str) -> Json:
    return {"kind": "User", "user": {"name": name}}


def _group(name: str) -> Json:
    return {"kind": "Group", "group": {"name": name}}


def _account(name: str = "*") -> Json:
    return {
        "kind": "ServiceAccount",
        "serviceAccount": {"namespace": "kube-system", "name": name},
    }


def _resources(
    verbs: str, group: str, resources: str, namespaces: str = "*", *, cluster: bool = False
) -> Json:
    found: Json = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    if cluster:
        found["clusterScope"] = True
    return {**found, "namespaces": [namespaces]}


_LEASES = ("get create update", "coordination.k8s.io", "leases")
_EVERYTHING: Json = {
    "resourceRules": [_resources("*", "*", "*", cluster=True)],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
_PROBES: Json = {
    "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]
}
_MANAGER, _SCHEDULER = _user("system:kube-controller-manager"), _user("system:kube-scheduler")
_NODES = _group("system:nodes")
_ANYBODY = [_group("system:unauthenticated"), _group("system:authenticated")]
_SCHEMAS: tuple[tuple[str, str, int, str, list[Json], Json], ...] = (
    ("exempt", "exempt", 1, "", [_group("system:masters")], _EVERYTHING),
    ("probes", "exempt", 2, "", _ANYBODY, _PROBES),
    (
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        [_MANAGER, _SCHEDULER, _account()],
        {"resourceRules": [_resources(*_LEASES, "kube-system")]},
    ),
    (
        "endpoint-controller",
        "workload-high",
        150,
        "ByUser",
        [_MANAGER, _account("endpoint-controller"), _account("endpointslicemirroring-controller")],
        {"resourceRules": [_resources("get create update", "", "endpoints")]},
    ),
    (
        "workload-leader-election",
        "leader-election",
        200,
        "ByUser",
        [_account()],
        {"resourceRules": [_resources(*_LEASES)]},
    ),
    (
        "system-node-high",
        "node-high",
        400,
        "ByUser",
        [_NODES],
        {
            "resourceRules": [
                _resources("*", "", "nodes nodes/status", cluster=True),
                _resources("*", "coordination.k8s.io", "leases"),
            ]
        },
    ),
    ("system-nodes", "system", 500, "ByUser", [_NODES], _EVERYTHING),
    ("kube-controller-manager", "workload-high", 800, "ByNamespace", [_MANAGER], _EVERYTHING),
    ("kube-scheduler", "workload-high", 800, "ByNamespace", [_SCHEDULER], _EVERYTHING),
    (
        "kube-system-service-accounts",
        "workload-high",
        900,
        "ByNamespace",
        [_account()],
        _EVERYTHING,
    ),
    (
        "service-accounts",
        "workload-low",
        9000,
        "ByUser",
        [_group("system:serviceaccounts")],
        _EVERYTHING,
    ),
    ("global-default", "global-default", 9900, "ByUser", _ANYBODY, _EVERYTHING),
    ("catch-all", "catch-all", 10000, "ByUser", _ANYBODY, _EVERYTHING),
)
"""name, priority level, precedence, how flows are told apart, subjects, what of theirs"""


def _metadata(name: str) -> Json:
    return {"name": name, "generation": 1, "annotations": dict(_ANNOTATIONS)}


def _level(name: str, spec: Json) -> tuple[str, Json]:
    return (
        "prioritylevelconfigurations",
        {"metadata": _metadata(name), "spec": spec, "status": {}},
    )


def _limited(shares: int, lent: int, response: Json) -> Json:
    limits = {
        "nominalConcurrencyShares": shares,
        "limitResponse": response,
        "lendablePercent": lent,
    }
    return {"type": "Limited", "limited": limits}


def _schema(
    name: str, level: str, precedence: int, method: str, subjects: list[Json], rules: Json, now: str
) -> Json:
    spec: Json = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [{"subjects": subjects, **rules}],
    }
    if method:
        spec["distinguisherMethod"] = {"type": method}
    condition = {
        "type": "Dangling",
        "status": "False",
        "lastTransitionTime": now,
        "reason": "Found",
        "message": "This FlowSchema references the PriorityLevelConfiguration object named "
        f'"{level}" and it exists',
    }
    return {"metadata": _metadata(name), "spec": spec, "status": {"conditions": [condition]}}


def default_objects(now: str) -> Iterator[tuple[str, Json]]:
    """(plural, object) for every priority level and flow schema."""
    exempt = {"nominalConcurrencyShares": 0, "lendablePercent": 0}
    yield _level("exempt", {"type": "Exempt", "exempt": exempt})
    yield _level("catch-all", _limited(5, 0, {"type": "Reject"}))
    for name, shares, lent, (queues, hand, length) in _LEVELS:
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": length}
        yield _level(name, _limited(shares, lent, {"type": "Queue", "queuing": queuing}))
    for row in _SCHEMAS:
        yield "flowschemas", _schema(*row, now=now)
