"""Services and Endpoints."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.addresses import cluster_addresses
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import Raw, strings
from labsandbox.apiserver.validation.meta import check_all, label_map
from labsandbox.apiserver.validation.pods.containers import PROTOCOLS, port_or_name

Json = dict[str, Any]
TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
AFFINITIES = ("ClientIP", "None")
TRAFFIC = ("Cluster", "Local")
ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"
RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
CHANGED = "may not change once set"


def is_headless(spec: Json) -> bool:
    addresses = spec.get("clusterIPs") or []
    return len(addresses) == 1 and addresses[0] == "None"


def service(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    kind = spec.get("type", "")
    ports = spec.get("ports") or []
    found: list[FieldError] = []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        found.append(required("spec.ports"))
    found += _by_type(spec, kind, ports)
    seen: set[str] = set()
    for index, port in enumerate(ports):
        found += _port(port, len(ports) > 1, seen, f"spec.ports[{index}]")
    found += label_map(spec.get("selector"), "spec.selector")
    found += _affinity(spec)
    found += cluster_addresses(obj)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        problems = check_all(path, address, names.ip(address))
        found += problems or ordinary_ip(address, path)
    if not kind:
        found.append(required("spec.type"))
    elif kind not in TYPES:
        found.append(not_supported("spec.type", kind, TYPES))
    found += _port_conflicts(ports, kind)
    found += _ranges(obj, spec, kind)
    return found + _balancer(spec, kind) + _traffic(spec, kind)


def _by_type(spec: Json, kind: str, ports: list[Json]) -> list[FieldError]:
    found: list[FieldError] = []
    if kind == "LoadBalancer":
        for index, port in enumerate(ports):
            if port.get("port") == 10250:
                detail = "may not expose port 10250 externally since it is used by kubelet"
                found.append(invalid(f"spec.ports[{index}]", 10250, detail))
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        detail = f"may not be set to 'None' for {kind} services"
        found.append(invalid("spec.clusterIPs[0]", "None", detail))
    if kind == "ExternalName":
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name):
                detail = "may not be set for ExternalName services"
                found.append(forbidden(f"spec.{name}", detail))
        name = spec.get("externalName", "").removesuffix(".")
        if name:
            found += check_all("spec.externalName", name, names.subdomain(name))
        else:
            found.append(required("spec.externalName"))
    return found


def _port(port: Json, needs_name: bool, seen: set[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    name = port.get("name", "")
    if needs_name and not name:
        found.append(required(f"{path}.name"))
    elif name:
        found += check_all(f"{path}.name", name, names.label(name))
        if name in seen:
            found.append(duplicate(f"{path}.name", name))
        seen.add(name)
    number = port.get("port", 0)
    found += [invalid(f"{path}.port", number, text) for text in names.port_number(number)]
    found += protocol(port, path)
    found += port_or_name(port.get("targetPort"), f"{path}.targetPort")
    application = port.get("appProtocol")
    if application is not None:
        problems = names.qualified_name(application)
        found += check_all(f"{path}.appProtocol", application, problems)
    return found


def protocol(port: Json, path: str) -> list[FieldError]:
    value = port.get("protocol", "")
    if not value:
        return [required(f"{path}.protocol")]
    return [] if value in PROTOCOLS else [not_supported(f"{path}.protocol", value, PROTOCOLS)]


def _affinity(spec: Json) -> list[FieldError]:
    value = spec.get("sessionAffinity", "")
    path = "spec.sessionAffinityConfig"
    if not value:
        return [required("spec.sessionAffinity")]
    if value not in AFFINITIES:
        return [not_supported("spec.sessionAffinity", value, AFFINITIES)]
    config = spec.get("sessionAffinityConfig")
    if value == "None":
        if config is None:
            return []
        return [forbidden(path, "must not be set when session affinity is None")]
    when = "when session affinity type is ClientIP"
    if config is None:
        return [required(path, when)]
    client = config.get("clientIP")
    if client is None:
        return [required(f"{path}.clientIP", when)]
    seconds = client.get("timeoutSeconds")
    if seconds is None:
        return [required(f"{path}.clientIP.timeoutSeconds", when)]
    if 0 < seconds <= 86400:
        return []
    detail = "must be greater than 0 and less than 86400"
    return [invalid(f"{path}.clientIP.timeoutSeconds", seconds, detail)]


def _port_conflicts(ports: list[Json], kind: str) -> list[FieldError]:
    found: list[FieldError] = []
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                detail = "may not be used when `type` is 'ClusterIP'"
                found.append(forbidden(f"spec.ports[{index}].nodePort", detail))
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        number = port.get("nodePort", 0)
        key = (port.get("protocol", ""), number)
        if number and key in seen:
            found.append(duplicate(f"spec.ports[{index}].nodePort", number))
        if number:
            seen.add(key)
    pairs: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol", ""), port.get("port", 0))
        if key in pairs:
            found.append(duplicate(f"spec.ports[{index}]", _port_key(*key)))
        pairs.add(key)
    return found


def _port_key(protocol_name: str, number: int) -> Raw:
    return Raw(
        f'core.ServicePort{{Name:"", Protocol:"{protocol_name}", AppProtocol:(*string)(nil), '
        f'Port:{number}, TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:""}}, NodePort:0}}'
    )


def _ranges(obj: Json, spec: Json, kind: str) -> list[FieldError]:
    ranges = spec.get("loadBalancerSourceRanges") or []
    found: list[FieldError] = []
    if ranges:
        path = "spec.LoadBalancerSourceRanges"
        if kind != "LoadBalancer":
            found.append(forbidden(path, ONLY_BALANCER))
        for index, value in enumerate(ranges):
            text = value.strip()
            found += check_all(f"{path}[{index}]", text, names.cidr(text))
        return found
    value = ((obj.get("metadata") or {}).get("annotations") or {}).get(RANGES_ANNOTATION)
    if value is not None:
        path = f"metadata.annotations[{RANGES_ANNOTATION}]"
        if kind != "LoadBalancer":
            found.append(forbidden(path, ONLY_BALANCER))
        for text in filter(None, (part.strip() for part in value.split(","))):
            found += check_all(path, text, names.cidr(text))
    return found


def _balancer(spec: Json, kind: str) -> list[FieldError]:
    found: list[FieldError] = []
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if allocate is not None and kind != "LoadBalancer":
        found.append(forbidden("spec.allocateLoadBalancerNodePorts", ONLY_BALANCER))
    if kind == "LoadBalancer" and allocate is None:
        found.append(required("allocateLoadBalancerNodePorts"))
    return found + _class(spec, kind)


def _class(spec: Json, kind: str) -> list[FieldError]:
    name = spec.get("loadBalancerClass")
    if name is None:
        return []
    if kind != "LoadBalancer":
        return [forbidden("spec.loadBalancerClass", ONLY_BALANCER)]
    return check_all("spec.loadBalancerClass", name, names.qualified_name(name))


def _traffic(spec: Json, kind: str) -> list[FieldError]:
    found: list[FieldError] = []
    external = kind in ("LoadBalancer", "NodePort") or bool(
        kind == "ClusterIP" and spec.get("externalIPs")
    )
    policy = spec.get("externalTrafficPolicy", "")
    if not external:
        if policy:
            detail = "may only be set for externally-accessible services"
            found.append(invalid("spec.externalTrafficPolicy", policy, detail))
    elif not policy:
        found.append(required("spec.externalTrafficPolicy"))
    elif policy not in TRAFFIC:
        found.append(not_supported("spec.externalTrafficPolicy", policy, TRAFFIC))
    number = spec.get("healthCheckNodePort", 0)
    if number and not (kind == "LoadBalancer" and policy == "Local"):
        detail = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        found.append(invalid("spec.healthCheckNodePort", number, detail))
    inside = spec.get("internalTrafficPolicy")
    if inside is None and kind in ("NodePort", "LoadBalancer", "ClusterIP"):
        found.append(required("spec.internalTrafficPolicy"))
    if inside is not None and inside not in TRAFFIC:
        found.append(not_supported("spec.internalTrafficPolicy", inside, TRAFFIC))
    spread = spec.get("trafficDistribution")
    if spread is not None and spread != "PreferClose":
        found.append(not_supported("spec.trafficDistribution", spread, ("PreferClose",)))
    return found


def service_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return _class(spec, spec.get("type", ""))
    found = _changed("clusterIPs", spec, before)
    found += _changed("ipFamilies", spec, before)
    if before.get("type") == "LoadBalancer" == spec.get("type"):
        ours, theirs = spec.get("loadBalancerClass"), before.get("loadBalancerClass")
        if ours != theirs:
            found.append(invalid("spec.loadBalancerClass", ours, CHANGED))
    return found + _class(spec, spec.get("type", ""))


def _changed(name: str, spec: Json, before: Json) -> list[FieldError]:
    new, old = spec.get(name) or [], before.get(name) or []
    path = f"spec.{name}"
    if name == "clusterIPs" and is_headless(spec) and is_headless(before):
        return []
    shown = strings(new)
    if name == "ipFamilies":
        shown = Raw(shown.text.replace("[]string", "[]core.IPFamily"))
    if len(new) < len(old):
        if not new:
            what = "clusterIP" if name == "clusterIPs" else "ipFamily"
            return [invalid(f"{path}[0]", shown, f"primary {what} can not be unset")]
        if new[0] != old[0]:
            return [invalid(f"{path}[0]", shown, CHANGED)]
        if spec.get("ipFamilyPolicy") != "SingleStack":
            detail = f"must be set to 'SingleStack' when releasing the secondary {name[:-1]}"
            return [invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail)]
        return []
    return [
        invalid(f"{path}[{index}]", shown, CHANGED)
        for index, value in enumerate(old)
        if new[index] != value
    ]


def service_status(new: Json) -> list[FieldError]:
    found: list[FieldError] = []
    rows = (((new.get("status") or {}).get("loadBalancer")) or {}).get("ingress") or []
    kind = (new.get("spec") or {}).get("type")
    if rows and kind != "LoadBalancer":
        detail = "may only be used when `spec.type` is 'LoadBalancer'"
        return [forbidden("status.loadBalancer.ingress", detail)]
    for index, row in enumerate(rows):
        path = f"status.loadBalancer.ingress[{index}]"
        address, mode, host = row.get("ip", ""), row.get("ipMode"), row.get("hostname", "")
        if address:
            found += check_all(f"{path}.ip", address, names.ip(address))
        if address and mode is None:
            found.append(required(f"{path}.ipMode", "must be specified when `ip` is set"))
        elif mode is not None and not address:
            detail = "may not be specified when `ip` is not set"
            found.append(forbidden(f"{path}.ipMode", detail))
        elif mode is not None and mode not in ("Proxy", "VIP"):
            found.append(not_supported(f"{path}.ipMode", mode, ("Proxy", "VIP")))
        if host:
            found += check_all(f"{path}.hostname", host, names.subdomain(host))
            if names.parse_ip(host) is not None:
                detail = "must be a DNS name, not an IP address"
                found.append(invalid(f"{path}.hostname", host, detail))
    return found


def ordinary_ip(text: str, path: str) -> list[FieldError]:
    """Neither unspecified nor loopback nor link-local."""
    address = names.parse_ip(text)
    if address is None:
        return [invalid(path, text, "must be a valid IP address")]
    found: list[FieldError] = []
    if address.is_unspecified:
        found.append(invalid(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback:
        detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        found.append(invalid(path, text, detail))
    if address.is_link_local and not address.is_multicast:
        detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        found.append(invalid(path, text, detail))
    if str(address).startswith(("224.0.0.", "ff02:")):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        found.append(invalid(path, text, detail))
    return found


def endpoints(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            found.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for kind in ("addresses", "notReadyAddresses"):
            for position, row in enumerate(subset.get(kind) or ()):
                found += _address(row, f"{path}.{kind}[{position}]")
        ports = subset.get("ports") or []
        for position, port in enumerate(ports):
            found += _endpoint_port(port, len(ports) > 1, f"{path}.ports[{position}]")
    return found


def _address(row: Json, path: str) -> list[FieldError]:
    text = row.get("ip", "")
    found = check_all(f"{path}.ip", text, names.ip(text))
    if row.get("hostname"):
        found += check_all(f"{path}.hostname", row["hostname"], names.label(row["hostname"]))
    if row.get("nodeName") is not None:
        found += check_all(f"{path}.nodeName", row["nodeName"], names.subdomain(row["nodeName"]))
    return found + ordinary_ip(text, f"{path}.ip")


def _endpoint_port(port: Json, needs_name: bool, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    name = port.get("name", "")
    if needs_name and not name:
        found.append(required(f"{path}.name"))
    elif name:
        found += check_all(f"{path}.name", name, names.label(name))
    number = port.get("port", 0)
    found += [invalid(f"{path}.port", number, text) for text in names.port_number(number)]
    found += protocol(port, path)
    application = port.get("appProtocol")
    if application is not None:
        found += check_all(f"{path}.appProtocol", application, names.qualified_name(application))
    return found
