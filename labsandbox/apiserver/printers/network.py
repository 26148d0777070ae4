"""Rows for services and what is behind them."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.printers.cells import (
    NONE,
    UNSET,
    Json,
    at,
    created,
    items,
    joined,
    labels,
    name,
    or_none,
    selector,
)

MOST = 3


def service_row(obj: Json) -> list[Any]:
    """The cells of a Service."""
    ports = ",".join(_port(one) for one in items(obj, "spec", "ports"))
    return [
        name(obj),
        str(at(obj, "spec", "type") or ""),
        or_none(at(obj, "spec", "clusterIP")),
        _external(obj),
        or_none(ports),
        created(obj),
        labels(at(obj, "spec", "selector")),
    ]


def _port(one: Json) -> str:
    number, node = one.get("port"), one.get("nodePort")
    return f"{number}:{node}/{one.get('protocol')}" if node else f"{number}/{one.get('protocol')}"


def _external(obj: Json) -> str:
    kind = at(obj, "spec", "type")
    if kind == "ExternalName":
        return str(at(obj, "spec", "externalName") or "")
    addresses = items(obj, "spec", "externalIPs")
    if kind != "LoadBalancer":
        return or_none(",".join(addresses))
    found = [part for part in _ingress_points(obj).split(",") if part] + addresses
    return ",".join(found) or "<pending>"


def _ingress_points(obj: Json) -> str:
    points = items(obj, "status", "loadBalancer", "ingress")
    return ",".join(sorted({str(one.get("ip") or one.get("hostname") or "") for one in points}))


def endpoints_row(obj: Json) -> list[Any]:
    """The cells of an Endpoints object."""
    subsets = items(obj, "subsets")
    found = [
        _address(str(address.get("ip", "")), port.get("port"))
        for subset in subsets
        for port in items(subset, "ports")
        for address in items(subset, "addresses")
    ]
    if subsets and not any(items(subset, "ports") for subset in subsets):
        found = [
            str(address.get("ip", ""))
            for subset in subsets
            for address in items(subset, "addresses")
        ]
    return [name(obj), joined(found, MOST) if subsets else NONE, created(obj)]


def _address(ip: str, port: Any) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def endpoint_slice_row(obj: Json) -> list[Any]:
    """The cells of an EndpointSlice."""
    ports = obj.get("ports")
    shown = UNSET
    if ports:
        numbers = [str(one["port"]) if one.get("port") is not None else "*" for one in ports]
        shown = joined(numbers, MOST)
    found = [str(ip) for one in items(obj, "endpoints") for ip in items(one, "addresses")]
    addresses = joined(found, MOST) if found else UNSET
    return [name(obj), at(obj, "addressType") or "", shown, addresses, created(obj)]


def ingress_row(obj: Json) -> list[Any]:
    """The cells of an Ingress."""
    hosts = [str(one["host"]) for one in items(obj, "spec", "rules") if one.get("host")]
    return [
        name(obj),
        or_none(at(obj, "spec", "ingressClassName")),
        joined(hosts, MOST) or "*",
        _ingress_points(obj),
        "80, 443" if items(obj, "spec", "tls") else "80",
        created(obj),
    ]


def network_policy_row(obj: Json) -> list[Any]:
    """The cells of a NetworkPolicy."""
    return [name(obj), selector(at(obj, "spec", "podSelector")), created(obj)]
