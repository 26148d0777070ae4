"""Where pods may run: affinity, tolerations, spread constraints."""

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
)
from labsandbox.apiserver.validation.meta import check_all, label_selector
from labsandbox.apiserver.validation.resources import one_of

Json = dict[str, Any]
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
WEIGHT = "must be in the range 1-100"
OPERATOR = "not a valid selector operator"


def tolerations(rows: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, row in enumerate(rows):
        path = f"{field}[{index}]"
        key, operator, value = row.get("key", ""), row.get("operator", ""), row.get("value", "")
        effect = row.get("effect", "")
        if key:
            found += check_all(f"{path}.key", key, names.qualified_name(key))
        elif operator != "Exists":
            detail = (
                "operator must be Exists when `key` is empty, which means "
                '"match all values and all keys"'
            )
            found.append(invalid(f"{path}.operator", operator, detail))
        if row.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(invalid(f"{path}.effect", effect, detail))
        if operator in ("Equal", ""):
            problems = names.label_value(value)
            if problems:
                found.append(invalid(f"{path}.operator", value, ";".join(problems)))
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                found.append(invalid(f"{path}.operator", value, detail))
        else:
            found.append(not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in EFFECTS:
            found.append(not_supported(f"{path}.effect", effect, EFFECTS))
    return found


def _requirement(row: Json, path: str) -> list[FieldError]:
    operator, values = row.get("operator", ""), row.get("values") or []
    found: list[FieldError] = []
    if operator in ("In", "NotIn"):
        if not values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            found.append(required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(forbidden(f"{path}.values", detail))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            found.append(required(f"{path}.values", detail))
    else:
        found.append(invalid(f"{path}.operator", operator, OPERATOR))
    key = row.get("key", "")
    return found + check_all(f"{path}.key", key, names.qualified_name(key))


def _field_requirement(row: Json, path: str) -> list[FieldError]:
    operator, values = row.get("operator", ""), row.get("values") or []
    found: list[FieldError] = []
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            detail = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            found.append(required(f"{path}.values", detail))
    else:
        found.append(invalid(f"{path}.operator", operator, OPERATOR))
    if row.get("key") != "metadata.name":
        detail = "not a valid field selector key"
        found.append(invalid(f"{path}.key", row.get("key", ""), detail))
    else:
        for index, value in enumerate(values):
            found += check_all(f"{path}.values[{index}]", value, names.subdomain(value))
    return found


def node_selector_term(term: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, row in enumerate(term.get("matchExpressions") or ()):
        found += _requirement(row, f"{path}.matchExpressions[{index}]")
    for index, row in enumerate(term.get("matchFields") or ()):
        found += _field_requirement(row, f"{path}.matchFields[{index}]")
    return found


def node_selector(selector: Json, path: str) -> list[FieldError]:
    terms = selector.get("nodeSelectorTerms") or []
    where = f"{path}.nodeSelectorTerms"
    if not terms:
        return [required(where, "must have at least one node selector term")]
    found: list[FieldError] = []
    for index, term in enumerate(terms):
        found += node_selector_term(term, f"{where}[{index}]")
    return found


def _pod_term(term: Json, path: str) -> list[FieldError]:
    found = label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    found += label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        found += check_all(f"{path}.namespace", name, names.label(name))
    key = term.get("topologyKey", "")
    if not key:
        found.append(required(f"{path}.topologyKey", "can not be empty"))
    return found + check_all(f"{path}.topologyKey", key, names.qualified_name(key))


def affinity(value: Json | None, field: str) -> list[FieldError]:
    if value is None:
        return []
    found: list[FieldError] = []
    node = value.get("nodeAffinity")
    if node is not None:
        path = f"{field}.nodeAffinity"
        if node.get(REQUIRED) is not None:
            found += node_selector(node[REQUIRED], f"{path}.{REQUIRED}")
        for index, row in enumerate(node.get(PREFERRED) or ()):
            where = f"{path}.{PREFERRED}[{index}]"
            if not 0 < row.get("weight", 0) <= 100:
                found.append(invalid(f"{where}.weight", row.get("weight", 0), WEIGHT))
            found += node_selector_term(row.get("preference") or {}, f"{where}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = value.get(kind)
        if pods is None:
            continue
        for index, term in enumerate(pods.get(REQUIRED) or ()):
            found += _pod_term(term, f"{field}.{kind}.{REQUIRED}[{index}]")
        for index, row in enumerate(pods.get(PREFERRED) or ()):
            where = f"{field}.{kind}.{PREFERRED}[{index}]"
            if not 0 < row.get("weight", 0) <= 100:
                found.append(invalid(f"{where}.weight", row.get("weight", 0), WEIGHT))
            found += _pod_term(row.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")
    return found


def spread_constraints(rows: list[Json], field: str) -> list[FieldError]:
    found: list[FieldError] = []
    pairs: set[tuple[str, str]] = set()
    for index, row in enumerate(rows):
        path = f"{field}[{index}]"
        skew = row.get("maxSkew", 0)
        if skew <= 0:
            found.append(invalid(f"{path}.maxSkew", skew, "must be greater than zero"))
        key = row.get("topologyKey", "")
        if not key:
            found.append(required(f"{path}.topologyKey", "can not be empty"))
        else:
            found += check_all(f"{path}.topologyKey", key, names.qualified_name(key))
        when = row.get("whenUnsatisfiable", "")
        allowed = ("DoNotSchedule", "ScheduleAnyway")
        if when not in allowed:
            found.append(not_supported(f"{path}.whenUnsatisfiable", when, allowed))
        if (key, when) in pairs:
            shown = f"{{{key}, {when}}}"
            found.append(duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", shown))
        pairs.add((key, when))
        least = row.get("minDomains")
        if least is not None and least <= 0:
            found.append(invalid(f"{path}.minDomains", least, "must be greater than zero"))
        if least is not None and when != "DoNotSchedule":
            detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + when
            found.append(invalid(f"{path}.minDomains", least, detail))
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if row.get(name) is not None:
                found += one_of(f"{path}.{name}", row[name], ("Honor", "Ignore"))
        found += label_selector(row.get("labelSelector"), f"{path}.labelSelector")
    return found


def dns_config(config: Json | None, policy: str, field: str) -> list[FieldError]:
    if policy == "None":
        if config is None:
            return [required(field, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{field}.nameservers", detail)]
    found: list[FieldError] = []
    for index, address in enumerate((config or {}).get("nameservers") or ()):
        found += check_all(f"{field}.nameservers[{index}]", address, names.ip(address))
    for index, search in enumerate((config or {}).get("searches") or ()):
        shown = search.removesuffix(".")
        found += check_all(f"{field}.searches[{index}]", shown, names.subdomain(shown))
    for index, option in enumerate((config or {}).get("options") or ()):
        if not option.get("name"):
            found.append(required(f"{field}.options[{index}]", "must not be empty"))
    return found
