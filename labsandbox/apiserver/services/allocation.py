"""Cluster IPs and node ports: chosen when a service is stored, free again when it is gone."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, invalid
from labsandbox.apiserver.store import Record, Store
from labsandbox.apiserver.verbs.options import Problem

Json = dict[str, Any]
NETWORK = ipaddress.ip_network("10.96.0.0/16")
PORTS = range(30000, 32768)
_BUCKET = "services"
_WITH_ADDRESS = {"ClusterIP", "NodePort", "LoadBalancer"}
_WITH_PORTS = {"NodePort", "LoadBalancer"}
_Held = tuple[frozenset[str], frozenset[tuple[int, str]]]


def is_service(resource: ResourceDef) -> bool:
    return resource.plural == "services" and not resource.group


class Allocator:
    """Finds what is free by looking at all services; remembers what each version holds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], tuple[int, _Held]] = {}

    def _services(self) -> Iterator[Record]:
        for record in self._store.bucket(_BUCKET).ordered(None):
            latest = self._store.latest(_BUCKET, record.namespace, record.name)
            if latest is not None:
                yield latest
        yield from self._store.pending_creations(_BUCKET)

    def _held(self, record: Record) -> _Held:
        known = self._known.get(record.key)
        if known is not None and known[0] == record.revision:
            return known[1]
        spec = record.load().get("spec") or {}
        ports = {(p["nodePort"], p.get("protocol", "TCP")) for p in spec.get("ports") or ()
                 if p.get("nodePort")}  # fmt: skip
        if spec.get("healthCheckNodePort"):
            ports.add((spec["healthCheckNodePort"], "TCP"))
        held = (frozenset(spec.get("clusterIPs") or ()), frozenset(ports))
        self._known[record.key] = (record.revision, held)
        return held

    def _taken(self, without: tuple[str, str]) -> tuple[set[str], set[tuple[int, str]]]:
        addresses: set[str] = set()
        ports: set[tuple[int, str]] = set()
        for record in self._services():
            if record.key != without:
                held = self._held(record)
                addresses |= held[0]
                ports |= held[1]
        return addresses, ports

    def allocate(self, resource: ResourceDef, obj: Json, *, dry_run: bool = False) -> None:
        """Give a service what it needs and does not have; call it just before storing."""
        if not is_service(resource):
            return
        spec, metadata = obj["spec"], obj["metadata"]
        kind = spec.get("type", "ClusterIP")
        if kind not in _WITH_ADDRESS:
            return
        _set_families(spec)
        key = (metadata["namespace"], metadata["name"])
        addresses, ports = self._taken(key)
        mine = self._store.latest(_BUCKET, *key)
        own = self._held(mine) if mine is not None else (frozenset(), frozenset())
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
        else:
            _allocate_address(metadata["name"], spec, addresses, own[0], dry_run)
        if kind in _WITH_PORTS:
            _allocate_ports(metadata["name"], spec, ports, own[1], dry_run)


def _set_families(spec: Json) -> None:
    headless = spec.get("clusterIP") == "None"
    if headless and not spec.get("selector"):
        policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack")
        if not spec.get("ipFamilies"):
            spec["ipFamilies"] = ["IPv4"] if policy == "SingleStack" else ["IPv4", "IPv6"]
        return
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if not spec.get("ipFamilies"):
        spec["ipFamilies"] = ["IPv4"]


def _refuse(name: str, field: str, message: str) -> StatusError:
    return invalid("", "Service", name, [Problem(field, "FieldValueInvalid", message)])


def _allocate_address(
    name: str, spec: Json, taken: set[str], own: frozenset[str], dry_run: bool
) -> None:
    wanted = spec.get("clusterIP") or ""
    if not wanted:
        wanted = "10.96.0.0" if dry_run else _free_address(taken)
    elif wanted not in own:
        why = ""
        if ipaddress.ip_address(wanted) not in NETWORK:
            why = (
                f"the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {NETWORK}"
            )
        elif wanted in taken:
            why = "provided IP is already allocated"
        if why:
            raise _refuse(
                name,
                "spec.clusterIPs",
                f'Invalid value: []string{{"{wanted}"}}: failed to allocate IP {wanted}: {why}',
            )
    spec["clusterIP"] = wanted
    spec["clusterIPs"] = [wanted]


def _free_address(taken: set[str]) -> str:
    base = int(NETWORK.network_address)
    for _ in range(10_000):
        found = str(ipaddress.ip_address(base + random.randrange(256, NETWORK.num_addresses - 1)))
        if found not in taken:
            return found
    raise StatusError(500, "InternalError", "failed to allocate a serviceIP: range is full")


def _free_port(taken: set[tuple[int, str]], protocol: str) -> int:
    free = [port for port in PORTS if (port, protocol) not in taken]
    if not free:
        raise StatusError(500, "InternalError", "failed to allocate a nodePort: range is full")
    return random.choice(free)


def _allocate_ports(
    name: str,
    spec: Json,
    taken: set[tuple[int, str]],
    own: frozenset[tuple[int, str]],
    dry_run: bool,
) -> None:
    mine: set[tuple[int, str]] = set()
    for at, port in enumerate(spec.get("ports") or ()):
        number, protocol = port.get("nodePort"), port.get("protocol", "TCP")
        if not number:
            continue
        if (number, protocol) not in own:
            _check_port(name, f"spec.ports[{at}].nodePort", number, protocol, taken | mine)
        mine.add((number, protocol))
    wants = spec.get("type") == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)
    for port in spec.get("ports") or ():
        if wants and not port.get("nodePort") and not dry_run:
            protocol = port.get("protocol", "TCP")
            port["nodePort"] = _free_port(taken | mine, protocol)
            mine.add((port["nodePort"], protocol))
    local = spec.get("externalTrafficPolicy") == "Local" and spec.get("type") == "LoadBalancer"
    if local and not spec.get("healthCheckNodePort") and not dry_run:
        spec["healthCheckNodePort"] = _free_port(taken | mine, "TCP")


def _check_port(
    name: str, field: str, number: int, protocol: str, taken: set[tuple[int, str]]
) -> None:
    why = ""
    if number not in PORTS:
        why = (
            "provided port is not in the valid range. "
            f"The range of valid ports is {PORTS.start}-{PORTS.stop - 1}"
        )
    elif (number, protocol) in taken:
        why = "provided port is already allocated"
    if why:
        raise _refuse(name, field, f"Invalid value: {number}: {why}")
