"""HorizontalPodAutoscalers and PodDisruptionBudgets."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import Raw
from labsandbox.apiserver.validation.meta import conditions, label_selector, not_negative
from labsandbox.apiserver.validation.workloads import at_most_all, int_or_percent
from labsandbox.quantity import parse

Json = dict[str, Any]
SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
LONGEST_WINDOW, LONGEST_PERIOD = 3600, 1800
EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def _budget(spec: Json) -> Raw:
    """A budget as Go prints it: every field is a pointer."""
    fields = (
        ("MinAvailable", "intstr.IntOrString", "minAvailable"),
        ("Selector", "v1.LabelSelector", "selector"),
        ("MaxUnavailable", "intstr.IntOrString", "maxUnavailable"),
        ("UnhealthyPodEvictionPolicy", "policy.UnhealthyPodEvictionPolicyType",
         "unhealthyPodEvictionPolicy"),
    )  # fmt: skip
    shown = (
        f"{name}:(*{kind})({'nil' if spec.get(key) is None else '0xc000a1b2c0'})"
        for name, kind, key in fields
    )
    return Raw(f"policy.PodDisruptionBudgetSpec{{{', '.join(shown)}}}")


def disruption_budget(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    found: list[FieldError] = []
    if least is not None and most is not None:
        detail = "minAvailable and maxUnavailable cannot be both set"
        found.append(invalid("spec", _budget(spec), detail))
    for name, value in (("minAvailable", least), ("maxUnavailable", most)):
        if value is not None:
            found += int_or_percent(value, f"spec.{name}")
            found += at_most_all(value, f"spec.{name}")
    found += label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in EVICTION_POLICIES:
        field = "spec.unhealthyPodEvictionPolicy"
        found.append(not_supported(field, policy, EVICTION_POLICIES))
    return found


def disruption_status(obj: Json) -> list[FieldError]:
    status = obj.get("status") or {}
    found = conditions(status.get("conditions"), "status.conditions")
    for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        found += not_negative(f"status.{name}", status.get(name, 0))
    return found


def autoscaler_status(obj: Json) -> list[FieldError]:
    status = obj.get("status") or {}
    found: list[FieldError] = []
    for name in ("currentReplicas", "desiredReplicas"):
        found += not_negative(f"status.{name}", status.get(name, 0))
    return found


def autoscaler(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 1:
        found.append(invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most < 1:
        found.append(invalid("spec.maxReplicas", most, "must be greater than 0"))
    if least is not None and most < least:
        detail = "must be greater than or equal to `minReplicas`"
        found.append(invalid("spec.maxReplicas", most, detail))
    found += _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
    metrics = spec.get("metrics") or ()
    for index, metric in enumerate(metrics):
        found += _metric(metric, f"spec.metrics[{index}]")
    share = spec.get("targetCPUUtilizationPercentage")
    if share is not None and share < 1:  # version 1 of the kind; judged as what it stands for
        field = "spec.metrics[0].resource.target.averageUtilization"
        found.append(invalid(field, share, "must be greater than 0"))
    if least == 0 and not any(row.get("type") in ("Object", "External") for row in metrics):
        detail = "must specify at least one Object or External metric to support scaling to zero"
        found.append(forbidden("spec.metrics", f"{detail} replicas"))
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        if behavior.get(name) is not None:
            found += _rules(behavior[name], f"spec.behavior.{name}")
    return found


def _reference(target: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("kind", "name"):
        value = target.get(name, "")
        if not value:
            found.append(required(f"{path}.{name}"))
        else:
            found += [invalid(f"{path}.{name}", value, text) for text in names.path_segment(value)]
    return found


def _metric(metric: Json, path: str) -> list[FieldError]:
    kind = metric.get("type", "")
    found: list[FieldError] = []
    if not kind:
        found.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in SOURCES:
        found.append(not_supported(f"{path}.type", kind, sorted(SOURCES)))
    present = [name for name in SOURCES.values() if metric.get(name) is not None]
    if present:
        found += _source(present[0], metric[present[0]], f"{path}.{present[0]}")
    expected = SOURCES.get(kind, "")
    if expected and expected not in present:
        detail = "must populate information for the given metric source"
        found.append(required(f"{path}.{expected}", detail))
    if len(present) != 1:
        detail = "must populate the given metric source only"
        found += [forbidden(f"{path}.{name}", detail) for name in present if name != expected]
    return found


def _source(name: str, source: Json, path: str) -> list[FieldError]:
    target = source.get("target") or {}
    share, value, average = (
        target.get(key) for key in ("averageUtilization", "value", "averageValue")
    )
    found: list[FieldError] = []
    if name == "object":
        found += _reference(source.get("describedObject") or {}, f"{path}.describedObject")
    if name in ("resource", "containerResource"):
        if not source.get("name"):
            found.append(required(f"{path}.name", "must specify a resource name"))
        if name == "containerResource" and not source.get("container"):
            found.append(required(f"{path}.container", "must specify a container"))
        found += _target(target, f"{path}.target")
        if share is None and average is None:
            detail = "must set either a target raw value or a target utilization"
            found.append(required(f"{path}.target.averageUtilization", detail))
        if share is not None and average is not None:
            detail = "may not set both a target raw value and a target utilization"
            found.append(forbidden(f"{path}.target.averageValue", detail))
        return found
    found += _identifier(source.get("metric") or {}, f"{path}.metric")
    found += _target(target, f"{path}.target")
    if name == "pods":
        if average is None or parse(average).nano <= 0:
            detail = "must specify a positive target averageValue"
            found.append(required(f"{path}.target.averageValue", detail))
        return found
    if value is None and average is None:
        detail = "must set either a target value for metric or a per-pod target"
        found.append(required(f"{path}.target.averageValue", detail))
    if value is not None and average is not None and name == "external":
        detail = "may not set both a target value for metric and a per-pod target"
        found.append(forbidden(f"{path}.target.value", detail))
    return found


def _identifier(metric: Json, path: str) -> list[FieldError]:
    name = metric.get("name", "")
    if not name:
        return [required(f"{path}.name", "must specify a metric name")]
    return [invalid(f"{path}.name", name, text) for text in names.path_segment(name)]


def _target(target: Json, path: str) -> list[FieldError]:
    kind = target.get("type", "")
    found: list[FieldError] = []
    if not kind:
        found.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in ("Utilization", "Value", "AverageValue"):
        detail = "must be either Utilization, Value, or AverageValue"
        found.append(invalid(f"{path}.type", kind, detail))
    for name in ("value", "averageValue"):
        amount = target.get(name)
        if amount is not None and parse(amount).nano <= 0:
            found.append(invalid(f"{path}.{name}", amount, "must be positive"))
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        found.append(invalid(f"{path}.averageUtilization", share, "must be greater than 0"))
    return found


def _rules(rules: Json, path: str) -> list[FieldError]:
    window = rules.get("stabilizationWindowSeconds")
    found: list[FieldError] = []
    field = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        found.append(invalid(field, window, "must be greater than or equal to zero"))
    if window is not None and window > LONGEST_WINDOW:
        found.append(invalid(field, window, f"must be less than or equal to {LONGEST_WINDOW}"))
    choice = rules.get("selectPolicy")
    if choice is not None and choice not in ("Disabled", "Max", "Min"):
        allowed = ("Disabled", "Max", "Min")
        found.append(not_supported(f"{path}.selectPolicy", choice, allowed))
    policies = rules.get("policies") or ()
    if not policies:
        found.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        found += _policy(policy, f"{path}.policies[{index}]")
    return found


def _policy(policy: Json, path: str) -> list[FieldError]:
    kind, seconds = policy.get("type", ""), policy.get("periodSeconds", 0)
    found: list[FieldError] = []
    if kind not in ("Percent", "Pods"):
        found.append(not_supported(f"{path}.type", kind, ("Percent", "Pods")))
    for name in ("value", "periodSeconds"):
        number = policy.get(name, 0)
        if number <= 0:
            found.append(invalid(f"{path}.{name}", number, "must be greater than zero"))
    if seconds > LONGEST_PERIOD:
        detail = f"must be less than or equal to {LONGEST_PERIOD}"
        found.append(invalid(f"{path}.periodSeconds", seconds, detail))
    return found
