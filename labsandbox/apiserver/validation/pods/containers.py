"""Containers: names, images, ports, probes, hooks."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.meta import check_all, not_negative
from labsandbox.apiserver.validation.pods.fields import validate_env, validate_env_from
from labsandbox.apiserver.validation.pods.security import container_context
from labsandbox.apiserver.validation.pods.volumes import validate_devices, validate_mounts
from labsandbox.apiserver.validation.resources import one_of, requirements

Json = dict[str, Any]
PROTOCOLS = ("SCTP", "TCP", "UDP")
ONE_HANDLER = "may not specify more than 1 handler type"
INIT_ONLY = "may not be set for init containers without restartPolicy=Always"
EPHEMERAL = "cannot be set for an Ephemeral Container"
EPHEMERAL_FIELDS = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def port_or_name(value: Any, field: str) -> list[FieldError]:
    """A port number or the name of a port."""
    if isinstance(value, str):
        return check_all(field, value, names.port_name(value))
    number = value or 0
    return [invalid(field, number, message) for message in names.port_number(number)]


def _ports(ports: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path = f"{field}[{index}]"
        name = port.get("name", "")
        if name:
            problems = names.port_name(name)
            found += check_all(f"{path}.name", name, problems)
            if not problems and name in seen:
                found.append(duplicate(f"{path}.name", name))
            elif not problems:
                seen.add(name)
        number, host = port.get("containerPort", 0), port.get("hostPort", 0)
        if number == 0:
            found.append(required(f"{path}.containerPort"))
        else:
            found += [
                invalid(f"{path}.containerPort", number, text) for text in names.port_number(number)
            ]
        if host:
            found += [invalid(f"{path}.hostPort", host, text) for text in names.port_number(host)]
        found += one_of(f"{path}.protocol", port.get("protocol", ""), PROTOCOLS)
    return found


def _common(ctr: Json, volumes: dict[str, Json], path: str, restart: str) -> list[FieldError]:
    found: list[FieldError] = []
    name = ctr.get("name", "")
    if not name:
        found.append(required(f"{path}.name"))
    else:
        found += check_all(f"{path}.name", name, names.label(name))
    if not ctr.get("image"):
        found.append(required(f"{path}.image"))
    policy = ctr.get("terminationMessagePolicy", "")
    allowed = ("File", "FallbackToLogsOnError")
    found += one_of(f"{path}.terminationMessagePolicy", policy, allowed)
    mounts, devices = ctr.get("volumeMounts") or [], ctr.get("volumeDevices") or []
    found += _ports(ctr.get("ports") or [], f"{path}.ports")
    found += validate_env(ctr.get("env") or [], f"{path}.env")
    found += validate_env_from(ctr.get("envFrom") or [], f"{path}.envFrom")
    by_name = {row.get("name", ""): row.get("devicePath", "") for row in devices}
    found += validate_mounts(mounts, volumes, by_name, f"{path}.volumeMounts")
    mounted = {row.get("name", "") for row in mounts}
    places = {row.get("mountPath", "") for row in mounts}
    found += validate_devices(devices, mounted, places, volumes, f"{path}.volumeDevices")
    pull = ctr.get("imagePullPolicy", "")
    found += one_of(f"{path}.imagePullPolicy", pull, ("Always", "IfNotPresent", "Never"))
    found += requirements(ctr.get("resources") or {}, f"{path}.resources")
    found += _resize(ctr.get("resizePolicy") or [], f"{path}.resizePolicy", restart)
    return found + container_context(ctr.get("securityContext"), f"{path}.securityContext")


def _resize(rows: list[Json], path: str, restart: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        resource, policy = row.get("resourceName", ""), row.get("restartPolicy", "")
        if resource in seen:
            found.append(duplicate(f"{path}[{index}]", resource))
        seen.add(resource)
        found += one_of(path, resource, ("cpu", "memory"))
        found += one_of(path, policy, ("NotRequired", "RestartContainer"))
        if restart == "Never" and policy != "NotRequired":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            found.append(invalid(path, policy, detail))
    return found


def _handler(handler: Json, kinds: tuple[str, ...], grace: int, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    count = 0
    for kind in kinds:
        action = handler.get(kind)
        if action is None:
            continue
        if count:
            found.append(forbidden(f"{path}.{kind}", ONE_HANDLER))
            continue
        count += 1
        found += _action(kind, action, grace, f"{path}.{kind}")
    if count == 0:
        found.append(required(path, "must specify a handler type"))
    return found


def _action(kind: str, action: Json, grace: int, path: str) -> list[FieldError]:
    if kind == "exec":
        return [] if action.get("command") else [required(f"{path}.command")]
    if kind == "sleep":
        seconds = action.get("seconds", 0)
        if 0 < seconds <= grace:
            return []
        detail = f"must be greater than 0 and less than terminationGracePeriodSeconds ({grace})"
        return [invalid(path, seconds, detail)]
    found: list[FieldError] = []
    if kind == "httpGet" and not action.get("path"):
        found.append(required(f"{path}.path"))
    found += port_or_name(action.get("port"), f"{path}.port")
    if kind == "httpGet":
        scheme = action.get("scheme", "")
        if scheme not in ("HTTP", "HTTPS"):
            found.append(not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
        for header in action.get("httpHeaders") or ():
            name = header.get("name", "")
            found += check_all(f"{path}.httpHeaders", name, names.header_name(name))
    return found


def _probes(ctr: Json, grace: int, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = ctr.get(kind)
        if probe is None:
            continue
        where = f"{path}.{kind}"
        found += _handler(probe, ("exec", "httpGet", "tcpSocket", "grpc"), grace, where)
        for name in (
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ):
            found += not_negative(f"{where}.{name}", probe.get(name, 0))
        limit = probe.get("terminationGracePeriodSeconds")
        if limit is not None and limit <= 0:
            field = f"{where}.terminationGracePeriodSeconds"
            found.append(invalid(field, limit, "must be greater than 0"))
        if kind != "readinessProbe" and probe.get("successThreshold", 0) != 1:
            value = probe.get("successThreshold", 0)
            found.append(invalid(f"{where}.successThreshold", value, "must be 1"))
        if kind == "readinessProbe" and limit is not None:
            field = f"{where}.terminationGracePeriodSeconds"
            found.append(invalid(field, limit, "must not be set for readinessProbes"))
    return found


def _lifecycle(lifecycle: Json | None, grace: int, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("postStart", "preStop"):
        hook = (lifecycle or {}).get(name)
        if hook is not None:
            kinds = ("exec", "httpGet", "tcpSocket", "sleep")
            found += _handler(hook, kinds, grace, f"{path}.{name}")
    return found


def host_port_conflicts(containers: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, ctr in enumerate(containers):
        for position, port in enumerate(ctr.get("ports") or ()):
            number = port.get("hostPort", 0)
            if not number:
                continue
            key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{number}"
            if key in seen:
                found.append(duplicate(f"{field}[{index}].ports[{position}].hostPort", key))
            seen.add(key)
    return found


def validate_containers(
    containers: list[Json], volumes: dict[str, Json], grace: int, field: str, restart: str
) -> list[FieldError]:
    """The regular containers."""
    if not containers:
        return [required(field)]
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, ctr in enumerate(containers):
        path = f"{field}[{index}]"
        found += _common(ctr, volumes, path, restart)
        name = ctr.get("name", "")
        if name in seen:
            found.append(duplicate(f"{path}.name", name))
        seen.add(name)
        found += _lifecycle(ctr.get("lifecycle"), grace, f"{path}.lifecycle")
        found += _probes(ctr, grace, path)
        if ctr.get("restartPolicy") is not None:
            detail = "may not be set for non-init containers"
            found.append(forbidden(f"{path}.restartPolicy", detail))
    return found + host_port_conflicts(containers, field)


def validate_init_containers(
    containers: list[Json],
    regular: list[Json],
    volumes: dict[str, Json],
    grace: int,
    field: str,
    restart: str,
) -> list[FieldError]:
    """Init containers, among them restartable ones (sidecars)."""
    found: list[FieldError] = []
    seen = {ctr.get("name", "") for ctr in regular}
    for index, ctr in enumerate(containers):
        path = f"{field}[{index}]"
        found += _common(ctr, volumes, path, restart)
        policy = ctr.get("restartPolicy")
        if policy is not None and policy != "Always":
            found.append(not_supported(f"{path}.restartPolicy", policy, ("Always",)))
        name = ctr.get("name", "")
        if name in seen:
            found.append(duplicate(f"{path}.name", name))
        elif name:
            seen.add(name)
        found += host_port_conflicts([ctr], field)
        if policy == "Always":
            found += _lifecycle(ctr.get("lifecycle"), grace, f"{path}.lifecycle")
            found += _probes(ctr, grace, path)
        else:
            for kind in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if ctr.get(kind) is not None:
                    found.append(forbidden(f"{path}.{kind}", INIT_ONLY))
    return found


def validate_ephemeral_containers(
    containers: list[Json],
    others: list[Json],
    volumes: dict[str, Json],
    field: str,
    restart: str,
) -> list[FieldError]:
    """Containers added for debugging."""
    found: list[FieldError] = []
    known = {ctr.get("name", "") for ctr in others}
    seen = set(known)
    for index, ctr in enumerate(containers):
        path = f"{field}[{index}]"
        found += _common(ctr, volumes, path, restart)
        found += image_spaces(ctr, path)
        name = ctr.get("name", "")
        if name in seen:
            found.append(duplicate(f"{path}.name", name))
        seen.add(name)
        target = ctr.get("targetContainerName")
        if target and target not in known:
            found.append(not_found(f"{path}.targetContainerName", target))
        for kind in EPHEMERAL_FIELDS:
            if ctr.get(kind):
                found.append(forbidden(f"{path}.{kind}", EPHEMERAL))
        for position, mount in enumerate(ctr.get("volumeMounts") or ()):
            for kind in ("subPath", "subPathExpr"):
                if mount.get(kind):
                    found.append(forbidden(f"{path}.volumeMounts[{position}].{kind}", EPHEMERAL))
    return found


def image_spaces(ctr: Json, path: str) -> list[FieldError]:
    image = ctr.get("image", "")
    if image == image.strip():
        return []
    return [invalid(f"{path}.image", image, "must not have leading or trailing whitespace")]
