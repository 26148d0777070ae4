"""clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy of a Service: they must fit each other."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import strings
from labsandbox.apiserver.validation.meta import check_all

Json = dict[str, Any]
FAMILIES = ("IPv4", "IPv6")
POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")


def cluster_addresses(obj: Json) -> list[FieldError]:
    """What is checked before addresses are allocated, and so before everything else."""
    spec = obj.get("spec") or {}
    if spec.get("type", "") == "ExternalName":
        return []
    found: list[FieldError] = []
    single, several = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    if single and not several:
        found.append(required("spec.clusterIPs"))
    elif single and several[0] != single:
        detail = "first value must match `clusterIP`"
        found.append(invalid("spec.clusterIPs", strings(several), detail))
    elif not single and several:
        detail = "must be empty when `clusterIP` is not specified"
        found.append(invalid("spec.clusterIPs", strings(several), detail))
    families = spec.get("ipFamilies") or []
    for index, family in enumerate(families):
        path = f"spec.ipFamilies[{index}]"
        if family not in FAMILIES:
            found.append(not_supported(path, family, FAMILIES))
        if family in families[:index]:
            found.append(duplicate(path, family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in POLICIES:
        found.append(not_supported("spec.ipFamilyPolicy", policy, POLICIES))
    found += _addresses(several)
    if any(error.field != "spec.clusterIPs" or "None" in error.detail for error in found):
        return found
    parsed = [names.parse_ip(address) for address in several if address != "None"]
    versions = [address.version for address in parsed if address is not None]
    if len(versions) > 1 and len(set(versions)) != len(versions):
        detail = "may specify no more than one IP for each IP family"
        found.append(invalid("spec.clusterIPs", strings(several), detail))
    if not found:
        for index, (version, family) in enumerate(zip(versions, families, strict=False)):
            if family != f"IPv{version}":
                detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
                found.append(invalid(f"spec.clusterIPs[{index}]", several[index], detail))
    return found


def _addresses(several: list[str]) -> list[FieldError]:
    found: list[FieldError] = []
    for index, address in enumerate(several):
        if index == 0 and address == "None":
            if len(several) > 1:
                detail = "'None' must be the first and only value"
                found.append(invalid("spec.clusterIPs", strings(several), detail))
            continue
        found += check_all(f"spec.clusterIPs[{index}]", address, names.ip(address))
    if len(several) > 2:
        detail = "may only hold up to 2 values"
        found.append(invalid("spec.clusterIPs", strings(several), detail))
    return found
