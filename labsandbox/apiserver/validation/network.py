"""Ingresses, NetworkPolicies, EndpointSlices."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_many,
)
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.meta import IMMUTABLE, check_all, label_map, label_selector
from labsandbox.apiserver.validation.pods.containers import PROTOCOLS, port_or_name
from labsandbox.apiserver.validation.services import ordinary_ip, protocol

Json = dict[str, Any]
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
BAD_ENDS = ("/..", "/.")
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


def ingress(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    found: list[FieldError] = []
    if not rules and default is None:
        shown = "[]networking.IngressRule(nil)"
        if spec.get("rules") is not None:
            shown = "[]networking.IngressRule{}"
        detail = "either `defaultBackend` or `rules` must be specified"
        found.append(invalid("spec", Raw(shown), detail))
    if default is not None:
        found += _backend(default, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        found += _rule(rule, f"spec.rules[{index}]")
    for index, row in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(row.get("hosts") or ()):
            path = f"spec.tls[{index}].hosts[{position}]"
            check = names.wildcard_subdomain if "*" in host else names.subdomain
            found += check_all(path, host, check(host))
    name = spec.get("ingressClassName")
    if name is not None:
        found += check_all("spec.ingressClassName", name, names.subdomain(name))
    return found


def ingress_status(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    rows = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for index, row in enumerate(rows):
        path = f"status.loadBalancer.ingress[{index}]"
        address, host = row.get("ip", ""), row.get("hostname", "")
        if address:
            found += check_all(f"{path}.ip", address, names.ip(address))
        if host:
            found += check_all(f"{path}.hostname", host, names.subdomain(host))
            if names.parse_ip(host) is not None:
                detail = "must be a DNS name, not an IP address"
                found.append(invalid(f"{path}.hostname", host, detail))
    return found


def _rule(rule: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    host = rule.get("host", "")
    if host:
        if names.parse_ip(host) is not None:
            detail = "must be a DNS name, not an IP address"
            found.append(invalid(f"{path}.host", host, detail))
        check = names.wildcard_subdomain if "*" in host else names.subdomain
        found += check_all(f"{path}.host", host, check(host))
    http = rule.get("http")
    if http is None:
        return found
    rows = http.get("paths") or []
    if not rows:
        found.append(required(f"{path}.http.paths"))
    for index, row in enumerate(rows):
        found += _path(row, f"{path}.http.paths[{index}]")
    return found


def _path(row: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    kind, where = row.get("pathType"), row.get("path", "")
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    absolute = invalid(f"{path}.path", where, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        if not where.startswith("/"):
            found.append(absolute)
        if where:
            for part in BAD_PARTS:
                if part in where:
                    found.append(invalid(f"{path}.path", where, f"must not contain '{part}'"))
            for end in BAD_ENDS:
                if where.endswith(end):
                    found.append(invalid(f"{path}.path", where, f"cannot end with '{end}'"))
    elif kind == "ImplementationSpecific":
        if where and not where.startswith("/"):
            found.append(absolute)
    else:
        found.append(not_supported(f"{path}.pathType", kind, PATH_TYPES))
    return found + _backend(row.get("backend") or {}, f"{path}.backend")


def _backend(backend: Json, path: str) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        detail = "cannot set both resource and service backends"
        return [invalid(path, "", detail)]
    if resource is not None:
        return [
            required(f"{path}.resource.{name}")
            for name in ("kind", "name")
            if not resource.get(name)
        ]
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    found: list[FieldError] = []
    name = service.get("name", "")
    if not name:
        found.append(required(f"{path}.service.name"))
    else:
        found += check_all(f"{path}.service.name", name, names.label_1035(name))
    port = service.get("port") or {}
    label, number = port.get("name", ""), port.get("number", 0)
    if label and number:
        found.append(invalid(path, "", "cannot set both port name & port number"))
    elif label:
        found += check_all(f"{path}.service.port.name", label, names.port_name(label))
    elif number:
        found += [
            invalid(f"{path}.service.port.number", number, text)
            for text in names.port_number(number)
        ]
    else:
        found.append(required(path, "port name or number is required"))
    return found


def network_policy(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = label_selector(spec.get("podSelector"), "spec.podSelector")
    for kind, peers in (("ingress", "from"), ("egress", "to")):
        for index, row in enumerate(spec.get(kind) or ()):
            path = f"spec.{kind}[{index}]"
            for position, port in enumerate(row.get("ports") or ()):
                found += _policy_port(port, f"{path}.ports[{position}]")
            for position, peer in enumerate(row.get(peers) or ()):
                found += _peer(peer, f"{path}.{peers}[{position}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        shown = ", ".join(f'"{kind}"' for kind in types)
        detail = "may not specify more than two policyTypes"
        found.append(
            invalid("spec.policyTypes", Raw(f"[]networking.PolicyType{{{shown}}}"), detail)
        )
        return found
    for index, kind in enumerate(types):
        if kind not in ("Egress", "Ingress"):
            path = f"spec.policyTypes[{index}]"
            found.append(not_supported(path, kind, ("Egress", "Ingress")))
    return found


def _policy_port(port: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    value = port.get("protocol")
    if value is not None and value not in PROTOCOLS:
        found.append(not_supported(f"{path}.protocol", value, PROTOCOLS))
    number, end = port.get("port"), port.get("endPort")
    if number is not None:
        found += port_or_name(number, f"{path}.port")
        if end is not None and isinstance(number, str):
            detail = "may not be specified when `port` is non-numeric"
            found.append(invalid(f"{path}.endPort", end, detail))
        elif end is not None and end < number:
            detail = "must be greater than or equal to `port`"
            found.append(invalid(f"{path}.endPort", end, detail))
    elif end is not None:
        detail = "may not be specified when `port` is not specified"
        found.append(invalid(f"{path}.endPort", end, detail))
    return found


def _peer(peer: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    kinds = [kind for kind in ("podSelector", "namespaceSelector") if peer.get(kind) is not None]
    for kind in kinds:
        found += label_selector(peer[kind], f"{path}.{kind}")
    block = peer.get("ipBlock")
    if block is not None:
        found += _block(block, f"{path}.ipBlock")
    if not kinds and block is None:
        found.append(required(path, "must specify a peer"))
    elif kinds and block is not None:
        found.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return found


def _block(block: Json, path: str) -> list[FieldError]:
    import ipaddress

    text = block.get("cidr", "")
    if not text:
        return [required(f"{path}.cidr")]
    problems = names.cidr(text)
    if problems:
        return [invalid(f"{path}.cidr", text, names.CIDR_SAYS)]
    whole = ipaddress.ip_network(text, strict=False)
    found: list[FieldError] = []
    for index, part in enumerate(block.get("except") or ()):
        where = f"{path}.except[{index}]"
        if names.cidr(part):
            found.append(invalid(where, part, names.CIDR_SAYS))
            continue
        inner = ipaddress.ip_network(part, strict=False)
        inside = inner.version == whole.version and inner.network_address in whole
        if not inside or inner.prefixlen <= whole.prefixlen:
            detail = "must be a strict subset of `cidr`"
            found.append(invalid(where, part, detail))
    return found


def endpoint_slice(obj: Json) -> list[FieldError]:
    kind = obj.get("addressType", "")
    found: list[FieldError] = []
    if not kind:
        found.append(required("addressType"))
    elif kind not in ADDRESS_TYPES:
        found.append(not_supported("addressType", kind, ADDRESS_TYPES))
    rows = obj.get("endpoints") or []
    if len(rows) > 1000:
        return [*found, too_many("endpoints", len(rows), 1000)]
    for index, row in enumerate(rows):
        found += _endpoint(row, kind, f"endpoints[{index}]")
    return found + _slice_ports(obj.get("ports") or [])


def _endpoint(row: Json, kind: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    addresses = row.get("addresses") or []
    if not addresses:
        found.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > 100:
        found.append(too_many(f"{path}.addresses", len(addresses), 100))
    for index, text in enumerate(addresses):
        where = f"{path}.addresses[{index}]"
        if kind == "FQDN":
            found += check_all(where, text, names.subdomain(text))
        elif kind in ("IPv4", "IPv6"):
            parsed = names.parse_ip(text)
            if parsed is None or parsed.version != int(kind[-1]):
                found.append(invalid(where, text, f"must be a valid {kind} address"))
            found += ordinary_ip(text, where)
    if row.get("nodeName") is not None:
        found += check_all(f"{path}.nodeName", row["nodeName"], names.subdomain(row["nodeName"]))
    found += label_map(row.get("deprecatedTopology"), f"{path}.deprecatedTopology")
    if row.get("hostname") is not None:
        found += check_all(f"{path}.hostname", row["hostname"], names.label(row["hostname"]))
    return found


def _slice_ports(ports: list[Json]) -> list[FieldError]:
    found: list[FieldError] = []
    if len(ports) > 20000:
        return [too_many("ports", len(ports), 20000)]
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path = f"ports[{index}]"
        name = port.get("name") or ""
        if name:
            found += check_all(f"{path}.name", name, names.label(name))
        if name in seen:
            found.append(duplicate(f"{path}.name", name))
        seen.add(name)
        found += protocol(port, path)
        application = port.get("appProtocol")
        if application is not None:
            problems = names.qualified_name(application)
            found += check_all(f"{path}.appProtocol", application, problems)
    return found


def endpoint_slice_update(new: Json, old: Json) -> list[FieldError]:
    kind = new.get("addressType", "")
    if kind == old.get("addressType", ""):
        return []
    return [invalid("addressType", kind, IMMUTABLE)]
