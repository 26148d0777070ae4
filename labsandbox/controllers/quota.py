"""ResourceQuota: what a namespace has used of each hard limit.

The API server charges a quota moments before it stores the object, so a count taken in between is
too low; written down, it would let one object too many in. A lower count is believed only when
nothing has been charged for a while.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from labsandbox import quantity
from labsandbox.client.resources import RESOURCEQUOTAS
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Again, set_status

Object = dict[str, Any]

_COUNTED = (
    "pods",
    "services",
    "configmaps",
    "secrets",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
)


SETTLED_SECONDS = 0.5


def reconcile(
    quota: Object, content: dict[str, list[Object]], quiet: float = SETTLED_SECONDS
) -> list[Action]:
    """Return the status of a quota; `content` holds the namespace's objects by `plural.group`.

    `quiet` says for how many seconds this version of the quota has been known.
    """
    if objects.is_deleted(quota):
        return []
    hard = quota["spec"].get("hard") or {}
    scopes = set(quota["spec"].get("scopes") or [])
    pods = [p for p in content.get("pods", []) if _in_scope(p, scopes)]
    used = {}
    for name, limit in hard.items():
        amount = _used(name, content, pods)
        is_binary = quantity.is_binary(limit) or "memory" in name or "storage" in name
        used[name] = quantity.write(amount, is_binary)
    if quiet < SETTLED_SECONDS and _is_lower(used, quota.get("status") or {}):
        return [Again(SETTLED_SECONDS - quiet)]
    return set_status(RESOURCEQUOTAS, quota, {"hard": hard, "used": used})


def _is_lower(used: dict[str, str], status: Object) -> bool:
    charged = status.get("used") or {}
    return any(
        quantity.amount(amount) < quantity.amount(charged[name])
        for name, amount in used.items()
        if name in charged
    )


def _in_scope(pod: Object, scopes: set[str]) -> bool:
    is_terminating = pod["spec"].get("activeDeadlineSeconds") is not None
    is_best_effort = (pod.get("status") or {}).get("qosClass") == "BestEffort"
    tests = {
        "Terminating": is_terminating,
        "NotTerminating": not is_terminating,
        "BestEffort": is_best_effort,
        "NotBestEffort": not is_best_effort,
    }
    return all(tests.get(scope, True) for scope in scopes)


def _used(name: str, content: dict[str, list[Object]], pods: list[Object]) -> Decimal:
    living = [pod for pod in pods if objects.phase(pod) not in ("Succeeded", "Failed")]
    if name == "pods":
        return Decimal(len(living))
    if name.startswith("count/"):
        what = name.removeprefix("count/")
        return Decimal(len(pods if what == "pods" else content.get(what, [])))
    if name in _COUNTED:
        return Decimal(len(content.get(name, [])))
    if name in ("services.loadbalancers", "services.nodeports"):
        return _services(name, content.get("services", []))
    if name == "requests.storage" or ".storageclass.storage.k8s.io/" in name:
        return _storage(name, content.get("persistentvolumeclaims", []))
    kind, _, resource = name.partition(".")
    if kind not in ("requests", "limits"):
        kind, resource = "requests", name
    return sum((_pod_sum(pod, kind, resource) for pod in living), Decimal(0))


def _pod_sum(pod: Object, kind: str, resource: str) -> Decimal:
    def of(container: Object) -> Decimal:
        return quantity.amount(
            ((container.get("resources") or {}).get(kind) or {}).get(resource, "0")
        )

    together = sum((of(c) for c in pod["spec"]["containers"]), Decimal(0))
    before = max((of(c) for c in pod["spec"].get("initContainers") or []), default=Decimal(0))
    return max(together, before)


def _services(name: str, services: list[Object]) -> Decimal:
    if name == "services.loadbalancers":
        return Decimal(sum(s["spec"].get("type") == "LoadBalancer" for s in services))
    return Decimal(
        sum(
            len(s["spec"].get("ports") or [])
            for s in services
            if s["spec"].get("type") in ("NodePort", "LoadBalancer")
        )
    )


def _storage(name: str, claims: list[Object]) -> Decimal:
    wanted, _, what = name.partition(".storageclass.storage.k8s.io/")
    if what:
        claims = [c for c in claims if c["spec"].get("storageClassName") == wanted]
        if what == "persistentvolumeclaims":
            return Decimal(len(claims))
    return sum(
        (quantity.amount(c["spec"]["resources"]["requests"]["storage"]) for c in claims), Decimal(0)
    )
