"""ResourceQuotas and LimitRanges."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    required,
)
from labsandbox.apiserver.validation.gopod import quantity_text
from labsandbox.apiserver.validation.goprint import Raw, quote, strings
from labsandbox.apiserver.validation.meta import IMMUTABLE, check_all
from labsandbox.apiserver.validation.resources import (
    STANDARD_QUOTA,
    amount_of,
    container_resource_name,
    is_overcommit_allowed,
    quota_resource_name,
    resource_name,
)
from labsandbox.quantity import Quantity, parse

Json = dict[str, Any]
SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
)
POD_RESOURCES = frozenset(
    ("pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
)
PAIRS = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
UNFIT = "unsupported scope applied to resource"
CONFLICTING = "conflicting scopes"
NO_SCOPES = Raw("[]core.ResourceQuotaScope(nil)")
EXISTS_ONLY = (
    "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
    "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
    "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def _scopes(scopes: list[str]) -> Raw:
    return Raw(strings(scopes).text.replace("[]string", "[]core.ResourceQuotaScope"))


def _amounts(amounts: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name, text in amounts.items():
        found += quota_resource_name(name, f"{path}[{name}]")
        found += amount_of(name, text, f"{path}[{name}]")
    return found


def _fits(scope: str, name: str) -> bool:
    if scope == "BestEffort":
        return name == "pods"
    if scope in SCOPES:
        return name in POD_RESOURCES
    return True


def quota(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    hard = spec.get("hard") or {}
    found = _amounts(hard, "spec.hard")
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in SCOPES:
            found.append(invalid("spec.scopes", _scopes(scopes), "unsupported scope"))
        for name in sorted(hard):
            if name in STANDARD_QUOTA and not _fits(scope, name):
                found.append(invalid("spec.scopes", _scopes(scopes), UNFIT))
    found += [
        invalid("spec.scopes", _scopes(scopes), CONFLICTING)
        for pair in PAIRS
        if set(pair) <= set(scopes)
    ]
    found += _scope_selector(spec)
    return found + quota_status(obj)


def _selector_text(rows: list[Json]) -> Raw:
    shown = ", ".join(
        f"core.ScopedResourceSelectorRequirement{{ScopeName:{quote(row.get('scopeName', ''))}, "
        f"Operator:{quote(row.get('operator', ''))}, Values:{strings(row.get('values')).text}}}"
        for row in rows
    )
    kind = "[]core.ScopedResourceSelectorRequirement"
    return Raw(f"core.ScopeSelector{{MatchExpressions:{kind}{{{shown}}}}}")


def _scope_selector(spec: Json) -> list[FieldError]:
    path = "spec.scopeSelector.matchExpressions"
    found: list[FieldError] = []
    rows = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    for row in rows:
        scope, operator = row.get("scopeName", ""), row.get("operator", "")
        values = row.get("values") or []
        if scope not in SCOPES:
            found.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        for name in sorted(spec.get("hard") or {}):
            if name in STANDARD_QUOTA and not _fits(scope, name):
                found.append(invalid(path, _selector_text(rows), UNFIT))
        if scope in SCOPES and scope != "PriorityClass" and operator != "Exists":
            found.append(invalid(f"{path}.operator", operator, EXISTS_ONLY))
        if operator in ("In", "NotIn"):
            if not values:
                detail = (
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
                    "selector"
                )
                found.append(required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = (
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope "
                    "selector"
                )
                found.append(invalid(f"{path}.values", strings(values), detail))
        else:
            detail = "not a valid selector operator"
            found.append(invalid(f"{path}.operator", operator, detail))
    scopes = {row.get("scopeName", "") for row in rows}
    shown = _scopes(spec["scopes"]) if spec.get("scopes") else NO_SCOPES
    found += [invalid(path, shown, CONFLICTING) for pair in PAIRS if set(pair) <= scopes]
    return found


def quota_status(new: Json) -> list[FieldError]:
    status = new.get("status") or {}
    found = _amounts(status.get("hard") or {}, "status.hard")
    return found + _amounts(status.get("used") or {}, "status.used")


def quota_update(new: Json, old: Json) -> list[FieldError]:
    ours = (new.get("spec") or {}).get("scopes") or []
    theirs = (old.get("spec") or {}).get("scopes") or []
    if set(ours) == set(theirs):
        return []
    return [
        invalid(
            "spec.scopes",
            _scopes(ours) if ours else NO_SCOPES,
            IMMUTABLE,
        )
    ]


def limit_range(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    kinds: set[str] = set()
    for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path = f"spec.limits[{index}]"
        kind = limit.get("type", "")
        problems = check_all(f"{path}.type", kind, names.qualified_name(kind))
        standard = ("Pod", "Container", "PersistentVolumeClaim")
        if not problems and "/" not in kind and kind not in standard:
            detail = "must be a standard limit type or fully qualified"
            problems.append(invalid(f"{path}.type", kind, detail))
        found += problems
        if kind in kinds:
            found.append(duplicate(f"{path}.type", kind))
        kinds.add(kind)
        found += _item(limit, kind, path)
    return found


def _item(limit: Json, kind: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    keys: dict[str, None] = {}
    check = container_resource_name if kind in ("Pod", "Container") else resource_name
    groups = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
    if kind == "Pod":
        for name in ("default", "defaultRequest"):
            if limit.get(name):
                detail = "may not be specified when `type` is 'Pod'"
                found.append(forbidden(f"{path}.{name}", detail))
            groups.remove(name)
    for group in groups:
        bounded = any("storage" in (limit.get(name) or {}) for name in ("min", "max"))
        if group == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim" and not bounded:
            detail = "either minimum or maximum storage value is required, but neither was provided"
            found.append(required(f"{path}.limits", detail))
        for name in limit.get(group) or {}:
            found += check(name, f"{path}.{group}[{name}]")
            keys[name] = None
    for name in keys:
        amounts = {
            group: parse(limit[group][name]) for group in groups if name in (limit.get(group) or {})
        }
        texts = {group: limit[group][name] for group in amounts}
        found += _order(name, amounts, texts, path)
    return found


def _bad(text: str) -> Raw:
    return Raw(quantity_text(text))


ORDER = (
    ("min", "max", "min", "min", "min value {0} is greater than max value {1}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {0} is greater than default request value {1}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {0} is greater than max value {1}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {0} is greater than default limit value {1}",
    ),
    ("min", "default", "default", "min", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "max", "default value {0} is greater than max value {1}"),
)


def _order(
    name: str, amounts: dict[str, Quantity], texts: dict[str, str], path: str
) -> list[FieldError]:
    found: list[FieldError] = []
    for low, high, where, shown, text in ORDER:
        if low in amounts and high in amounts and amounts[low].nano > amounts[high].nano:
            detail = text.format(amounts[low], amounts[high])
            found.append(invalid(f"{path}.{where}[{name}]", _bad(texts[shown]), detail))
    ratio = amounts.get("maxLimitRequestRatio")
    where = f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None and ratio.nano < 10**9:
        found.append(
            invalid(where, _bad(texts["maxLimitRequestRatio"]), f"ratio {ratio} is less than 1")
        )
    if ratio is not None and "min" in amounts and "max" in amounts and amounts["min"].nano:
        most = amounts["max"].milli / amounts["min"].milli
        if ratio.milli / 1000 > most:
            detail = f"ratio {ratio} is greater than max/min = {most:f}"
            found.append(invalid(where, _bad(texts["maxLimitRequestRatio"]), detail))
    default, request = amounts.get("default"), amounts.get("defaultRequest")
    if default is None or request is None or is_overcommit_allowed(name):
        return found
    if default.nano != request.nano:
        detail = f"default value {default} must equal to defaultRequest value {request} in {name}"
        found.append(
            invalid(f"{path}.defaultRequest[{name}]", _bad(texts["defaultRequest"]), detail)
        )
    return found
