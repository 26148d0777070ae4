"""Decide which gateway port stands before which service port: pure functions.

A service takes part when it carries the label `hpecp.hpe.com/hpecp-internal-gateway: "true"`.
The mapping is written on the service itself, as `hpecp-internal-gateway/<port>: <host>:<port>`, so
it survives a restart with the service and dies with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

LABEL = "hpecp.hpe.com/hpecp-internal-gateway"
PREFIX = "hpecp-internal-gateway/"
FIRST_PORT = 10001
LAST_PORT = 19999

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One port of one service."""

    namespace: str
    service: str
    port: int
    port_name: str

    @property
    def terminates_tls(self) -> bool:
        """Say whether the gateway speaks TLS before this port: web ports and unnamed schemes."""
        return self.port_name.startswith(("http-", "https-")) or self.port_name == "http"


def takes_part(service: Object) -> bool:
    """Say whether the gateway serves this service."""
    labels = service["metadata"].get("labels") or {}
    gone = service["metadata"].get("deletionTimestamp")
    return labels.get(LABEL) == "true" and not gone


def targets(service: Object) -> list[Target]:
    """Return the ports of a service that take part."""
    if not takes_part(service) or service["spec"].get("clusterIP") == "None":
        return []
    meta = service["metadata"]
    return [
        Target(meta["namespace"], meta["name"], port["port"], port.get("name") or "")
        for port in service["spec"].get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    ]


def recorded(service: Object) -> dict[int, int]:
    """Return service port -> gateway port as the annotations say."""
    found = {}
    for key, value in (service["metadata"].get("annotations") or {}).items():
        if key.startswith(PREFIX):
            port = _number(key.removeprefix(PREFIX))
            ours = _number(str(value).rpartition(":")[2])
            # Whoever writes the service writes this, too: ports outside the range are not ours.
            if port and FIRST_PORT <= ours <= LAST_PORT:
                found[port] = ours
    return found


def _number(text: str) -> int:
    """Return a port's number; 0 for what is none. (`str.isdigit` is also true of `²`.)"""
    return int(text) if re.fullmatch("[0-9]{1,5}", text) else 0


def assign(
    services: Iterable[Object], held: dict[Target, int], is_free: Callable[[int], bool]
) -> dict[Target, int]:
    """Return the gateway port of every target.

    What is `held` stays; then what the annotations remember, if the port is free; then the next
    free port from the start of the range.
    """
    services = sorted(services, key=lambda service: service["metadata"]["creationTimestamp"])
    wanted = [(target, recorded(service)) for service in services for target in targets(service)]
    chosen = {target: held[target] for target, _ in wanted if target in held}
    taken = set(chosen.values())
    for target, remembered in wanted:
        port = remembered.get(target.port)
        if target not in chosen and port and port not in taken and is_free(port):
            chosen[target] = port
            taken.add(port)
    candidates = iter(range(FIRST_PORT, LAST_PORT + 1))
    for target, _ in wanted:
        if target in chosen:
            continue
        for port in candidates:
            if port not in taken and is_free(port):
                chosen[target] = port
                taken.add(port)
                break
    return chosen


def annotation_changes(
    service: Object, assigned: dict[Target, int], host: str
) -> dict[str, str | None]:
    """Return the annotation changes a service needs; None removes one. Empty when all is well."""
    wanted = {
        f"{PREFIX}{target.port}": f"{host}:{assigned[target]}"
        for target in targets(service)
        if target in assigned
    }
    present = {
        key: value
        for key, value in (service["metadata"].get("annotations") or {}).items()
        if key.startswith(PREFIX)
    }
    changes: dict[str, str | None] = {
        key: value for key, value in wanted.items() if present.get(key) != value
    }
    changes |= {key: None for key in present if key not in wanted}
    return changes


def backends(slices: Iterable[Object], target: Target) -> list[tuple[str, int]]:
    """Return the (address, port) pairs that are ready to answer for a target."""
    found = []
    for piece in slices:
        ports = [
            port["port"]
            for port in piece.get("ports") or []
            if (port.get("name") or "") == target.port_name and port.get("port")
        ]
        for endpoint in piece.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            found += [
                (address, port) for address in endpoint.get("addresses") or [] for port in ports
            ]
    return sorted(set(found))
