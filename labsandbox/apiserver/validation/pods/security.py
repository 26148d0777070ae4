"""Security contexts of pods and containers."""

from __future__ import annotations

import re
from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from labsandbox.apiserver.validation.sources import descending_path

Json = dict[str, Any]
MAX_ID = 2**31 - 1
PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"


def _ids(context: Json, fields: tuple[str, ...], path: str) -> list[FieldError]:
    found = []
    for name in fields:
        value = context.get(name)
        if value is not None and not 0 <= value <= MAX_ID:
            found.append(invalid(f"{path}.{name}", value, names.in_range(0, MAX_ID)))
    return found


def seccomp(profile: Json | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    found: list[FieldError] = []
    if not kind:
        found.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in PROFILES:
        found.append(not_supported(f"{path}.type", kind, PROFILES))
    if kind == "Localhost":
        if local is None:
            detail = "must be set when seccomp type is Localhost"
            found.append(required(f"{path}.localhostProfile", detail))
        else:
            found += descending_path(local, f"{path}.localhostProfile")
    elif local is not None:
        detail = "can only be set when seccomp type is Localhost"
        found.append(invalid(f"{path}.localhostProfile", local, detail))
    return found


def app_armor(profile: Json | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    field = f"{path}.localhostProfile"
    if kind == "Localhost":
        if not (local or "").strip():
            return [required(field, "must be set when AppArmor type is Localhost")]
        found: list[FieldError] = []
        if local is not None and local.strip() != local:
            found.append(invalid(field, local, "must not be padded with whitespace"))
        if local is not None and len(local) > 4095:
            found.append(too_long(field, 4095))
        return found
    if kind in PROFILES:
        if local is None:
            return []
        return [invalid(field, local, "can only be set when AppArmor type is Localhost")]
    if not kind:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    return [not_supported(f"{path}.type", kind, PROFILES)]


def container_context(context: Json | None, path: str) -> list[FieldError]:
    """securityContext of a container."""
    if context is None:
        return []
    found = _ids(context, ("runAsUser", "runAsGroup"), path)
    mount = context.get("procMount")
    if mount is not None and mount not in ("Default", "Unmasked"):
        found.append(not_supported(f"{path}.procMount", mount, ("Default", "Unmasked")))
    elif mount == "Unmasked":
        detail = "`hostUsers` must be false to use `Unmasked`"
        found.append(invalid(f"{path}.procMount", mount, detail))
    found += seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            found.append(invalid(path, context, detail))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = (
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` "
                "CAP_SYS_ADMIN"
            )
            found.append(invalid(path, context, detail))
    return found + app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def pod_context(context: Json | None, spec: Json, field: str) -> list[FieldError]:
    """securityContext of a pod."""
    if context is None:
        return []
    path = f"{field}.securityContext"
    found = _ids(context, ("fsGroup", "runAsUser", "runAsGroup"), path)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= MAX_ID:
            where = f"{path}.supplementalGroups[{index}]"
            found.append(invalid(where, group, names.in_range(0, MAX_ID)))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        found.append(invalid(f"{path}.shareProcessNamespace", True, detail))
    found += _sysctls(context.get("sysctls") or (), spec, f"{path}.sysctls")
    policy = context.get("fsGroupChangePolicy")
    if policy is not None and policy not in ("Always", "OnRootMismatch"):
        allowed = ("Always", "OnRootMismatch")
        found.append(not_supported(f"{path}.fsGroupChangePolicy", policy, allowed))
    found += seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    return found + app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def _sysctls(rows: Any, spec: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        where, name = f"{path}[{index}].name", row.get("name", "")
        if not name:
            found.append(required(where))
        elif len(name) > 253 or re.fullmatch(SYSCTL, name, re.ASCII) is None:
            detail = f"must have at most 253 characters and match regex ^{SYSCTL}$"
            found.append(invalid(where, name, detail))
        elif name in seen:
            found.append(duplicate(where, name))
        if spec.get("hostNetwork") and name.startswith("net."):
            found.append(invalid(where, name, "may not be specified when 'hostNetwork' is true"))
        seen.add(name)
    return found


def host_users(spec: Json, field: str) -> list[FieldError]:
    if spec.get("hostUsers") is not False:
        return []
    detail = "when `pod.Spec.HostUsers` is false"
    rows = (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC"))
    return [forbidden(f"{field}.{shown}", detail) for name, shown in rows if spec.get(name)]
