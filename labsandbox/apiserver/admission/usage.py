"""What an object counts for in quotas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from labsandbox.quantity import Quantity, QuantityError, parse

if TYPE_CHECKING:
    from labsandbox.apiserver.registry import ResourceDef

Json = dict[str, Any]
Usage = dict[str, Quantity]
ONE = Quantity(10**9)
NONE = Quantity(0)
# Resources whose count has a name of its own besides `count/…`.
COUNTED = (
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
)
REQUIRED = (
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
)
PLAIN = ("cpu", "memory", "ephemeral-storage")
TERMINAL = ("Succeeded", "Failed")
CLASS_SUFFIX = ".storageclass.storage.k8s.io/"


def usage_of(resource: ResourceDef, obj: Json) -> Usage:
    """Everything an object counts for."""
    usage: Usage = {f"count/{resource.group_resource}": ONE}
    if resource.group:
        return usage
    if resource.plural in COUNTED:
        usage[resource.plural] = ONE
    match resource.plural:
        case "pods":
            usage |= _pod_usage(obj)
        case "services":
            usage |= _service_usage(obj)
        case "persistentvolumeclaims":
            usage |= _claim_usage(obj)
    return usage


def may_matter(resource: ResourceDef, key: str) -> bool:
    """Tell whether a quota's resource name can concern objects of a resource."""
    if key == f"count/{resource.group_resource}":
        return True
    if resource.group:
        return False
    if resource.plural in COUNTED and key == resource.plural:
        return True
    match resource.plural:
        case "pods":
            return key in PLAIN or key.startswith(("requests.", "limits.", "hugepages-"))
        case "services":
            return key in ("services.nodeports", "services.loadbalancers")
        case "persistentvolumeclaims":
            return key == "requests.storage" or CLASS_SUFFIX in key
    return False


def missing_requests(pod: Json, keys: Iterable[str]) -> str:
    """Which containers do not say what a quota wants to count; "" when all do."""
    wanted = sorted(key for key in keys if key in REQUIRED)
    spec = pod.get("spec") or {}
    missing: dict[str, set[str]] = {}
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            known = _container_usage(container)
            for key in wanted:
                if key not in known:
                    missing.setdefault(key, set()).add(str(container.get("name")))
    return "; ".join(f"{key} for: {','.join(sorted(missing[key]))}" for key in sorted(missing))


def is_terminal(pod: Json) -> bool:
    """A pod that has ended uses nothing."""
    return (pod.get("status") or {}).get("phase") in TERMINAL


def _pod_usage(pod: Json) -> Usage:
    if is_terminal(pod):
        return {}
    spec = pod.get("spec") or {}
    total: Usage = {}
    for container in spec.get("containers") or ():
        _add(total, _container_usage(container))
    sidecars: Usage = {}
    peak: Usage = {}
    for container in spec.get("initContainers") or ():
        mine = _container_usage(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, mine)
            mine = dict(sidecars)
        else:
            _add(mine, sidecars)
        _raise(peak, mine)
    _add(total, sidecars)
    _raise(total, peak)
    for name, value in (spec.get("overhead") or {}).items():
        for key in (name, f"requests.{name}", f"limits.{name}"):
            if key in total:
                total[key] = total[key] + read(value)
    return total


def _container_usage(container: Json) -> Usage:
    resources = container.get("resources") or {}
    found: Usage = {}
    requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    for name, value in requests.items():
        found[f"requests.{name}"] = read(value)
        if name in PLAIN or name.startswith("hugepages-"):
            found[name] = read(value)
    for name, value in (resources.get("limits") or {}).items():
        found[f"limits.{name}"] = read(value)
    return found


def _service_usage(service: Json) -> Usage:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type"), spec.get("ports") or []
    found: Usage = {}
    if kind == "NodePort":
        found["services.nodeports"] = Quantity(len(ports) * 10**9)
    elif kind == "LoadBalancer":
        used = len(ports)
        if spec.get("allocateLoadBalancerNodePorts") is False:
            used = sum(1 for port in ports if port.get("nodePort"))
        found["services.nodeports"] = Quantity(used * 10**9)
        found["services.loadbalancers"] = ONE
    return found


def _claim_usage(claim: Json) -> Usage:
    spec = claim.get("spec") or {}
    storage = read(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
    found: Usage = {"requests.storage": storage}
    if spec.get("storageClassName"):
        start = f"{spec['storageClassName']}{CLASS_SUFFIX}"
        found[f"{start}requests.storage"] = storage
        found[f"{start}persistentvolumeclaims"] = ONE
    return found


def _add(total: Usage, more: Usage) -> None:
    for key, value in more.items():
        total[key] = total[key] + value if key in total else value


def _raise(total: Usage, peak: Usage) -> None:
    for key, value in peak.items():
        if key not in total or total[key] < value:
            total[key] = value


def read(value: Any) -> Quantity:
    """A quantity; nothing when it is not one (validation tells the client)."""
    try:
        return parse(str(value))
    except QuantityError:
        return NONE
