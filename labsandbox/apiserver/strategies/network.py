"""Services: what an update keeps of the allocated values and what a change of type drops."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
_WITH_ADDRESS = {"ClusterIP", "NodePort", "LoadBalancer"}
_WITH_PORTS = {"NodePort", "LoadBalancer"}


def _type(spec: Json) -> str:
    return str(spec.get("type") or "ClusterIP")


def update_service(new: Json, old: Json) -> None:
    """Keep what was allocated, then drop what the new type does not have."""
    spec, before = new.setdefault("spec", {}), old.get("spec") or {}
    _keep_allocated(spec, before)
    _drop_foreign(spec, before)
    if _type(spec) != "LoadBalancer":
        new["status"] = {**(new.get("status") or {}), "loadBalancer": {}}


def _keep_allocated(spec: Json, before: Json) -> None:
    both = {_type(spec), _type(before)}
    if both <= _WITH_ADDRESS:
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
            spec["clusterIPs"] = before.get("clusterIPs") or []
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and field in before:
                spec[field] = before[field]
    if both <= _WITH_PORTS:
        known = {
            (port.get("protocol", "TCP"), port["port"]): port["nodePort"]
            for port in before.get("ports") or ()
            if port.get("nodePort")
        }
        for port in spec.get("ports") or ():
            key = (port.get("protocol", "TCP"), port.get("port"))
            if not port.get("nodePort") and key in known:
                port["nodePort"] = known[key]
        if not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    _match_addresses(spec, before)


def _match_addresses(spec: Json, before: Json) -> None:
    """clusterIP and clusterIPs[0] are one value: a client that changes only one means both."""
    address, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    was, were = before.get("clusterIP") or "", before.get("clusterIPs") or []
    if not before:
        if address and not addresses:
            spec["clusterIPs"] = [address]
        return
    if were and not addresses and address == was:
        spec["clusterIPs"] = were
    elif address != was and was and addresses == were:
        if address:
            spec["clusterIPs"] = [address]
        else:
            spec.pop("clusterIPs", None)
    elif address and not were and not addresses:
        spec["clusterIPs"] = [address]


def _drop_foreign(spec: Json, before: Json) -> None:
    kind, was = _type(spec), _type(before)
    if was in _WITH_ADDRESS and kind not in _WITH_ADDRESS:
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
        spec.pop("internalTrafficPolicy", None)
    if was in _WITH_PORTS and kind not in _WITH_PORTS:
        held = [port.get("nodePort") for port in before.get("ports") or ()]
        for port in spec.get("ports") or ():
            if port.get("nodePort") in held:
                port.pop("nodePort", None)
        if spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)
        if spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
            spec.pop("healthCheckNodePort", None)
    if was == "LoadBalancer" and kind != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)


def create_service(obj: Json) -> None:
    """clusterIP and clusterIPs[0] are one value."""
    _match_addresses(obj.setdefault("spec", {}), {})
