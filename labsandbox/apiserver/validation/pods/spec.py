"""The spec of a pod or of a template."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names, scheduling
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.meta import (
    annotation_map,
    check_all,
    label_map,
)
from labsandbox.apiserver.validation.pods.containers import (
    image_spaces,
    validate_containers,
    validate_ephemeral_containers,
    validate_init_containers,
)
from labsandbox.apiserver.validation.pods.security import host_users, pod_context
from labsandbox.apiserver.validation.pods.volumes import validate_volumes
from labsandbox.apiserver.validation.resources import one_of

Json = dict[str, Any]
RESTART = ("Always", "OnFailure", "Never")
DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")


def validate_pod_spec(spec: Json, field: str, is_pod: bool) -> list[FieldError]:
    """`is_pod`: not the template of a workload."""
    grace = spec.get("terminationGracePeriodSeconds") or 0
    restart = spec.get("restartPolicy", "")
    containers = spec.get("containers") or []
    inits = spec.get("initContainers") or []
    found, volumes = validate_volumes(spec.get("volumes") or [], f"{field}.volumes")
    found += validate_containers(containers, volumes, grace, f"{field}.containers", restart)
    where = f"{field}.initContainers"
    found += validate_init_containers(inits, containers, volumes, grace, where, restart)
    found += validate_ephemeral_containers(
        spec.get("ephemeralContainers") or [],
        [*containers, *inits],
        volumes,
        f"{field}.ephemeralContainers",
        restart,
    )
    found += _host_network(spec, field, is_pod)
    found += one_of(f"{field}.restartPolicy", restart, RESTART)
    found += one_of(f"{field}.dnsPolicy", spec.get("dnsPolicy", ""), DNS)
    found += label_map(spec.get("nodeSelector"), f"{field}.nodeSelector")
    found += pod_context(spec.get("securityContext"), spec, field)
    found += scheduling.affinity(spec.get("affinity"), f"{field}.affinity")
    policy = spec.get("dnsPolicy", "")
    found += scheduling.dns_config(spec.get("dnsConfig"), policy, f"{field}.dnsConfig")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        path = f"{field}.readinessGates[{index}].conditionType"
        found += check_all(path, kind, names.qualified_name(kind))
    found += _gates(spec.get("schedulingGates") or [], f"{field}.schedulingGates")
    rows = spec.get("topologySpreadConstraints") or []
    found += scheduling.spread_constraints(rows, f"{field}.topologySpreadConstraints")
    found += host_users(spec, field)
    return found + _names(spec, field) + _scalars(spec, field)


def _host_network(spec: Json, field: str, is_pod: bool) -> list[FieldError]:
    if not spec.get("hostNetwork"):
        return []
    found: list[FieldError] = []
    for index, ctr in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(ctr.get("ports") or ()):
            host, inner = port.get("hostPort", 0), port.get("containerPort", 0)
            if (is_pod or host) and host != inner:
                path = f"{field}.containers[{index}].ports[{position}].hostPort"
                detail = "must match `containerPort` when `hostNetwork` is true"
                found.append(invalid(path, host, detail))
    return found


def _gates(gates: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        found += check_all(f"{field}[{index}]", name, names.qualified_name(name))
        if name in seen:
            found.append(duplicate(f"{field}[{index}]", name))
        seen.add(name)
    return found


def _names(spec: Json, field: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("serviceAccountName", "nodeName"):
        value = spec.get(name)
        if value:
            found += check_all(f"{field}.{name}", value, names.subdomain(value))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        detail = names.in_range(1, 2**31 - 1)
        found.append(invalid(f"{field}.activeDeadlineSeconds", deadline, detail))
    for name in ("hostname", "subdomain"):
        value = spec.get(name)
        if value:
            found += check_all(f"{field}.{name}", value, names.label(value))
    found += scheduling.tolerations(spec.get("tolerations") or [], f"{field}.tolerations")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        path = f"{field}.hostAliases[{index}]"
        address = alias.get("ip", "")
        found += check_all(f"{path}.ip", address, names.ip(address))
        for position, host in enumerate(alias.get("hostnames") or ()):
            found += check_all(f"{path}.hostnames[{position}]", host, names.subdomain(host))
    for name in ("priorityClassName", "runtimeClassName"):
        value = spec.get(name)
        if value or (value is not None and name == "runtimeClassName"):
            found += check_all(f"{field}.{name}", value, names.subdomain(value))
    return found


def _scalars(spec: Json, field: str) -> list[FieldError]:
    found: list[FieldError] = []
    policy = spec.get("preemptionPolicy")
    if policy is not None:
        allowed = ("PreemptLowerPriority", "Never")
        found += one_of(f"{field}.preemptionPolicy", policy, allowed)
    system = spec.get("os")
    if system is not None:
        name = system.get("name", "")
        if not name:
            found.append(required(f"{field}.os.name", "cannot be empty"))
        elif name not in ("linux", "windows"):
            found.append(not_supported(f"{field}.os", name, ("linux", "windows")))
    return found


def only_for_pods(pod: Json) -> list[FieldError]:
    """What is asked of pods but not of templates."""
    spec = pod.get("spec") or {}
    found: list[FieldError] = []
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(spec.get("volumes") or ()):
            for position, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if source.get("serviceAccountToken") is not None:
                    path = f"spec.volumes[{index}].projected.sources[{position}]"
                    detail = "must not be specified when serviceAccountName is not set"
                    found.append(forbidden(f"{path}.serviceAccountToken", detail))
    for kind in ("containers", "initContainers"):
        for index, ctr in enumerate(spec.get(kind) or ()):
            found += image_spaces(ctr, f"spec.{kind}[{index}]")
    return found


def validate_template(template: Json, field: str) -> list[FieldError]:
    """A PodTemplateSpec."""
    metadata = template.get("metadata") or {}
    found = label_map(metadata.get("labels"), f"{field}.labels")
    found += annotation_map(metadata.get("annotations"), f"{field}.annotations")
    found += validate_pod_spec(template.get("spec") or {}, f"{field}.spec", is_pod=False)
    if (template.get("spec") or {}).get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        found.append(forbidden(f"{field}.spec.ephemeralContainers", detail))
    return found
