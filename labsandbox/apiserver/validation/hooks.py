"""Webhook configurations and admission policies."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import strings
from labsandbox.apiserver.validation.meta import check_all, label_selector

Json = dict[str, Any]
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
REVIEWS = ("v1", "v1beta1")


def configuration(obj: Json, mutating: bool) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        path = f"webhooks[{index}]"
        found += _webhook(hook, path, mutating)
        found += _versions(hook.get("admissionReviewVersions") or [], path)
        name = hook.get("name", "")
        if name and name in seen:
            found.append(duplicate(f"{path}.name", name))
        seen.add(name)
    return found


def _versions(versions: list[str], path: str) -> list[FieldError]:
    where = f"{path}.admissionReviewVersions"
    if not versions:
        return [required(where, "must specify one of v1, v1beta1")]
    found: list[FieldError] = []
    for index, version in enumerate(versions):
        if version in versions[:index]:
            found.append(invalid(f"{where}[{index}]", version, "duplicate version"))
            continue
        found += check_all(f"{where}[{index}]", version, names.label_1035(version))
    if not set(versions) & set(REVIEWS):
        detail = "must include at least one of v1, v1beta1"
        found.append(invalid(where, strings(versions), detail))
    return found


def fully_qualified(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    problems = names.subdomain(name)
    if problems:
        return [invalid(path, name, ",".join(problems))]
    if len(name.split(".")) < 3:
        detail = "should be a domain with at least three segments separated by dots"
        return [invalid(path, name, detail)]
    return []


def _webhook(hook: Json, path: str, mutating: bool) -> list[FieldError]:
    found = fully_qualified(hook.get("name", ""), f"{path}.name")
    for index, rule in enumerate(hook.get("rules") or ()):
        found += _rule(rule, f"{path}.rules[{index}]")
    for name, allowed in (
        ("failurePolicy", ("Fail", "Ignore")),
        ("matchPolicy", ("Equivalent", "Exact")),
    ):
        value = hook.get(name)
        if value is not None and value not in allowed:
            found.append(not_supported(f"{path}.{name}", value, allowed))
    effects = hook.get("sideEffects")
    allowed = ("None", "NoneOnDryRun")
    if effects is None:
        found.append(required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    elif effects not in allowed:
        found.append(not_supported(f"{path}.sideEffects", effects, allowed))
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        found.append(invalid(f"{path}.timeoutSeconds", seconds, detail))
    for name in ("namespaceSelector", "objectSelector"):
        found += label_selector(hook.get(name), f"{path}.{name}")
    policy = hook.get("reinvocationPolicy")
    if mutating and policy is not None and policy not in ("IfNeeded", "Never"):
        allowed = ("IfNeeded", "Never")
        found.append(not_supported(f"{path}.reinvocationPolicy", policy, allowed))
    return found + _client(hook.get("clientConfig") or {}, f"{path}.clientConfig")


def _rule(rule: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    operations = rule.get("operations") or []
    if not operations:
        found.append(required(f"{path}.operations"))
    if len(operations) > 1 and "*" in operations:
        detail = "if '*' is present, must not specify other operations"
        found.append(invalid(f"{path}.operations", strings(operations), detail))
    for index, operation in enumerate(operations):
        if operation not in OPERATIONS:
            where = f"{path}.operations[{index}]"
            found.append(not_supported(where, operation, OPERATIONS))
    for name in ("apiGroups", "apiVersions", "resources"):
        values = rule.get(name) or []
        if not values:
            found.append(required(f"{path}.{name}"))
        if len(values) > 1 and "*" in values and name != "resources":
            what = "API groups" if name == "apiGroups" else "API versions"
            detail = f"if '*' is present, must not specify other {what}"
            found.append(invalid(f"{path}.{name}", strings(values), detail))
        if name == "apiVersions":
            for index, value in enumerate(values):
                if not value:
                    found.append(required(f"{path}.{name}[{index}]"))
        if name == "resources":
            found += _resources(values, f"{path}.resources")
    scope = rule.get("scope")
    if scope is not None and scope not in SCOPES:
        found.append(not_supported(f"{path}.scope", scope, SCOPES))
    return found


def _resources(values: list[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for index, value in enumerate(values):
        if not value:
            found.append(required(f"{path}[{index}]"))
        if value == "*/*" and len(values) > 1:
            detail = "if '*/*' is present, must not specify other resources"
            found.append(invalid(f"{path}[{index}]", strings(values), detail))
    return found


def _client(config: Json, path: str) -> list[FieldError]:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    return (
        webhook_url(url, f"{path}.url")
        if url is not None
        else webhook_service(service or {}, f"{path}.service")
    )


def webhook_url(url: str, path: str) -> list[FieldError]:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return [required(path, f"url must be a valid URL: {error}{form}")]
    found: list[FieldError] = []
    if parts.scheme != "https":
        detail = f"'https' is the only allowed URL scheme{form}"
        found.append(invalid(path, parts.scheme, detail))
    if not parts.netloc:
        found.append(invalid(path, parts.netloc, f"host must be specified{form}"))
    if parts.username is not None:
        detail = "user information is not permitted in the URL"
        found.append(invalid(path, parts.netloc.rpartition("@")[0], detail))
    if parts.fragment:
        found.append(invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        detail = "query parameters are not permitted in the URL"
        found.append(invalid(path, parts.query, detail))
    return found


def webhook_service(service: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("name", "namespace"):
        if not service.get(name):
            found.append(required(f"{path}.{name}", f"service {name} is required"))
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        detail = "port is not valid: " + names.in_range(1, 65535)
        found.append(invalid(f"{path}.port", port, detail))
    where = service.get("path")
    if where:
        if not where.startswith("/"):
            found.append(invalid(f"{path}.path", where, "must start with a '/'"))
        elif "//" in where:
            detail = "segment may not be empty"
            found.append(invalid(f"{path}.path", where, detail))
    return found


def mutating_configuration(obj: Json) -> list[FieldError]:
    return configuration(obj, mutating=True)


def validating_configuration(obj: Json) -> list[FieldError]:
    return configuration(obj, mutating=False)


def admission_policy(obj: Json) -> list[FieldError]:
    """A ValidatingAdmissionPolicy."""
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    policy = spec.get("failurePolicy")
    if policy is None:
        found.append(required("spec.failurePolicy"))
    elif policy not in ("Fail", "Ignore"):
        found.append(not_supported("spec.failurePolicy", policy, ("Fail", "Ignore")))
    kind = spec.get("paramKind")
    if kind is not None:
        for name in ("apiVersion", "kind"):
            if not kind.get(name):
                found.append(required(f"spec.paramKind.{name}"))
    constraints = spec.get("matchConstraints")
    if constraints is None:
        found.append(required("spec.matchConstraints"))
    else:
        rules = constraints.get("resourceRules") or []
        if not rules:
            found.append(required("spec.matchConstraints.resourceRules"))
        for index, rule in enumerate(rules):
            found += _rule(rule, f"spec.matchConstraints.resourceRules[{index}]")
    validations = spec.get("validations") or []
    if not validations and not spec.get("auditAnnotations"):
        detail = "validations or auditAnnotations must be non-empty"
        found.append(required("spec.validations", f"{detail}; at least one of them must be set"))
    for index, row in enumerate(validations):
        path = f"spec.validations[{index}]"
        found += _expression(row, path)
        reason = row.get("reason")
        if reason is not None and reason not in REASONS:
            found.append(not_supported(f"{path}.reason", reason, REASONS))
    return found


def _expression(row: Json, path: str) -> list[FieldError]:
    from labsandbox.apiserver import cel

    text = (row.get("expression") or "").strip()
    if not text:
        return [required(f"{path}.expression", "expression is not specified")]
    try:
        cel.compile(text)
    except cel.CelError as error:
        detail = f"compilation failed: {error}"
        return [invalid(f"{path}.expression", row["expression"], detail)]
    return []
