"""Roles and bindings."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import Raw, quote, strings
from labsandbox.apiserver.validation.meta import check_all, label_selector

Json = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"


def _rule(rule: Json, namespaced: bool, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not rule.get("verbs"):
        found.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        where = f"{path}.nonResourceURLs"
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            found.append(invalid(where, strings(urls), detail))
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(invalid(where, strings(urls), detail))
        return found
    if not rule.get("apiGroups"):
        detail = "resource rules must supply at least one api group"
        found.append(required(f"{path}.apiGroups", detail))
    if not rule.get("resources"):
        detail = "resource rules must supply at least one resource"
        found.append(required(f"{path}.resources", detail))
    return found


def role(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    for index, rule in enumerate(obj.get("rules") or ()):
        found += _rule(rule, True, f"rules[{index}]")
    return found


def cluster_role(obj: Json) -> list[FieldError]:
    found: list[FieldError] = []
    for index, rule in enumerate(obj.get("rules") or ()):
        found += _rule(rule, False, f"rules[{index}]")
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        selectors = aggregation.get("clusterRoleSelectors") or []
        path = "aggregationRule.clusterRoleSelectors"
        if not selectors:
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            found.append(required(path, detail))
        for index, selector in enumerate(selectors):
            problems = label_selector(selector, f"{path}[{index}]")
            if problems:
                problems.append(invalid(f"{path}[{index}]", None, "invalid label selector."))
            found += problems
    return found


def _subject(subject: Json, namespaced: bool, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    name, kind = subject.get("name", ""), subject.get("kind", "")
    group = subject.get("apiGroup", "")
    if not name:
        found.append(required(f"{path}.name"))
    if kind == "ServiceAccount":
        if name:
            found += check_all(f"{path}.name", name, names.subdomain(name))
        if group:
            found.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            found.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            found.append(not_supported(f"{path}.apiGroup", group, (GROUP,)))
    else:
        allowed = ("ServiceAccount", "User", "Group")
        found.append(not_supported(f"{path}.kind", kind, allowed))
    return found


def _binding(obj: Json, namespaced: bool) -> list[FieldError]:
    ref = obj.get("roleRef") or {}
    found: list[FieldError] = []
    if ref.get("apiGroup", "") != GROUP:
        found.append(not_supported("roleRef.apiGroup", ref.get("apiGroup", ""), (GROUP,)))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if ref.get("kind", "") not in kinds:
        found.append(not_supported("roleRef.kind", ref.get("kind", ""), kinds))
    name = ref.get("name", "")
    if not name:
        found.append(required("roleRef.name"))
    else:
        found += check_all("roleRef.name", name, names.path_segment(name))
    for index, subject in enumerate(obj.get("subjects") or ()):
        found += _subject(subject, namespaced, f"subjects[{index}]")
    return found


def role_binding(obj: Json) -> list[FieldError]:
    return _binding(obj, namespaced=True)


def cluster_role_binding(obj: Json) -> list[FieldError]:
    return _binding(obj, namespaced=False)


def binding_update(new: Json, old: Json) -> list[FieldError]:
    ref = new.get("roleRef") or {}
    if ref == (old.get("roleRef") or {}):
        return []
    text = (
        f"rbac.RoleRef{{APIGroup:{quote(ref.get('apiGroup', ''))}, "
        f"Kind:{quote(ref.get('kind', ''))}, Name:{quote(ref.get('name', ''))}}}"
    )
    return [invalid("roleRef", Raw(text), "cannot change roleRef")]
