"""Deployments, ReplicaSets, StatefulSets, DaemonSets and ReplicationControllers."""

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
from labsandbox.apiserver.validation.goprint import Raw, label_selector, quote, string_map
from labsandbox.apiserver.validation.meta import (
    IMMUTABLE,
    annotation_map,
    is_empty_selector,
    label_map,
    not_negative,
    selects,
)
from labsandbox.apiserver.validation.meta import label_selector as check_selector
from labsandbox.apiserver.validation.pods import validate_template

Json = dict[str, Any]
MISMATCH = "`selector` does not match template `labels`"
ALWAYS = ("Always",)


def _labels(template: Json) -> dict[str, str] | None:
    found: dict[str, str] | None = (template.get("metadata") or {}).get("labels")
    return found


def _mismatch(template: Json, path: str) -> FieldError:
    return invalid(f"{path}.metadata.labels", string_map(_labels(template)), MISMATCH)


def _selector(spec: Json, kind: str) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    found = check_selector(selector, "spec.selector")
    if is_empty_selector(selector):
        detail = f"empty selector is invalid for {kind}"
        found.append(invalid("spec.selector", label_selector(selector), detail))
    return found


def _is_readable(selector: Json | None) -> bool:
    if selector is None:
        return True
    return not check_selector(selector, "")


def _replicated_template(spec: Json) -> list[FieldError]:
    template = spec.get("template") or {}
    found: list[FieldError] = []
    selector = spec.get("selector")
    empty = selector is not None and is_empty_selector(selector)
    if not empty and not selects(selector, _labels(template)):
        found.append(_mismatch(template, "spec.template"))
    found += validate_template(template, "spec.template")
    return found + _runs_always(template, "ReplicaSet")


def _runs_always(template: Json, kind: str) -> list[FieldError]:
    inner = template.get("spec") or {}
    found: list[FieldError] = []
    if inner.get("restartPolicy") != "Always":
        path = "spec.template.spec.restartPolicy"
        found.append(not_supported(path, inner.get("restartPolicy", ""), ALWAYS))
    if inner.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        found.append(forbidden("spec.template.spec.activeDeadlineSeconds", detail))
    return found


def int_or_string(value: Any) -> Raw:
    if isinstance(value, str):
        return Raw(f"intstr.IntOrString{{Type:1, IntVal:0, StrVal:{quote(value)}}}")
    return Raw(f'intstr.IntOrString{{Type:0, IntVal:{value or 0}, StrVal:""}}')


def int_or_percent(value: Any, path: str) -> list[FieldError]:
    if isinstance(value, str):
        shown = int_or_string(value)
        return [invalid(path, shown, text) for text in names.percent(value)]
    return not_negative(path, value or 0)


def _amount(value: Any) -> int:
    if isinstance(value, str):
        return int(value[:-1]) if value[:-1].isdigit() else 0
    return value or 0


def at_most_all(value: Any, path: str) -> list[FieldError]:
    if isinstance(value, str) and not names.percent(value) and _amount(value) > 100:
        return [invalid(path, int_or_string(value), "must not be greater than 100%")]
    return []


def deployment(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative("spec.replicas", spec.get("replicas", 0))
    found += _selector(spec, "deployment")
    if _is_readable(spec.get("selector")):
        found += _replicated_template(spec)
    else:
        shown = label_selector(spec.get("selector"))
        found.append(invalid("spec.selector", shown, "invalid label selector"))
    found += _deployment_strategy(spec.get("strategy") or {})
    found += not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
    found += not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        found += not_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= spec.get("minReadySeconds", 0):
            detail = "must be greater than minReadySeconds"
            found.append(invalid("spec.progressDeadlineSeconds", deadline, detail))
    return found


def _deployment_strategy(strategy: Json) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    path = "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        if rolling is None:
            return []
        detail = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden(path, detail)]
    if kind != "RollingUpdate":
        pointer = "(*apps.RollingUpdateDeployment)(nil)"
        if rolling is not None:
            pointer = "(*apps.RollingUpdateDeployment)(0xc000000000)"
        text = f"apps.DeploymentStrategy{{Type:{quote(kind)}, RollingUpdate:{pointer}}}"
        return [not_supported("spec.strategy", Raw(text), ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [required(path, "this should be defaulted and never be nil")]
    down, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found = int_or_percent(down, f"{path}.maxUnavailable")
    found += int_or_percent(surge, f"{path}.maxSurge")
    if _amount(down) == 0 and _amount(surge) == 0:
        detail = "may not be 0 when `maxSurge` is 0"
        found.append(invalid(f"{path}.maxUnavailable", int_or_string(down), detail))
    return found + at_most_all(down, f"{path}.maxUnavailable")


def same_selector(new: Json, old: Json) -> list[FieldError]:
    ours, theirs = (new.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector")
    if ours == theirs:
        return []
    return [invalid("spec.selector", label_selector(ours), IMMUTABLE)]


def replica_set(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative("spec.replicas", spec.get("replicas", 0))
    found += not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
    found += _selector(spec, "deployment")
    if not _is_readable(spec.get("selector")):
        shown = label_selector(spec.get("selector"))
        return [*found, invalid("spec.selector", shown, "invalid label selector")]
    return found + _replicated_template(spec)


def replication_controller(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found = not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
    selector = spec.get("selector") or {}
    if not selector:
        found.append(required("spec.selector"))
    found += not_negative("spec.replicas", spec.get("replicas", 0))
    template = spec.get("template")
    if template is None:
        return [*found, required("spec.template")]
    labels = _labels(template) or {}
    if selector and any(labels.get(key) != value for key, value in selector.items()):
        found.append(_mismatch(template, "spec.template"))
    return (
        found
        + validate_template(template, "spec.template")
        + _runs_always(template, "ReplicationController")
    )


def stateful_set(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    policy = spec.get("podManagementPolicy", "")
    if not policy:
        found.append(required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        found.append(invalid("spec.podManagementPolicy", policy, detail))
    found += _stateful_strategy(spec.get("updateStrategy") or {})
    found += _retention(spec.get("persistentVolumeClaimRetentionPolicy"))
    found += not_negative("spec.replicas", spec.get("replicas", 0))
    found += not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
    if spec.get("ordinals") is not None:
        found += not_negative("spec.ordinals.start", spec["ordinals"].get("start", 0))
    found += _selector(spec, "statefulset")
    template = spec.get("template") or {}
    selector = spec.get("selector")
    if not _is_readable(selector):
        found.append(invalid("spec.selector", label_selector(selector), ""))
    else:
        empty = selector is not None and is_empty_selector(selector)
        if not empty and not selects(selector, _labels(template)):
            found.append(_mismatch(template, "spec.template"))
        metadata = template.get("metadata") or {}
        found += label_map(metadata.get("labels"), "spec.template.labels")
        found += annotation_map(metadata.get("annotations"), "spec.template.annotations")
    return found + _runs_always(template, "StatefulSet")


def _stateful_strategy(strategy: Json) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        if rolling is None:
            return []
        down = rolling.get("maxUnavailable")
        shown = "nil" if down is None else "0xc000000000"
        text = (
            f"apps.RollingUpdateStatefulSetStrategy{{Partition:{rolling.get('partition', 0)}, "
            f"MaxUnavailable:(*intstr.IntOrString)({shown})}}"
        )
        detail = "only allowed for updateStrategy 'RollingUpdate'"
        return [invalid(f"{path}.rollingUpdate", Raw(text), detail)]
    if kind == "RollingUpdate":
        if rolling is None:
            return []
        where = f"{path}.rollingUpdate"
        return not_negative(f"{where}.partition", rolling.get("partition", 0))
    pointer = "nil" if rolling is None else "0xc000000000"
    text = (
        f"apps.StatefulSetUpdateStrategy{{Type:{quote(kind)}, "
        f"RollingUpdate:(*apps.RollingUpdateStatefulSetStrategy)({pointer})}}"
    )
    return [invalid(path, Raw(text), "must be 'RollingUpdate' or 'OnDelete'")]


def _retention(policy: Json | None) -> list[FieldError]:
    found = []
    for name in ("whenDeleted", "whenScaled"):
        value = (policy or {}).get(name, "Retain")
        if value not in ("Retain", "Delete"):
            path = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            found.append(not_supported(path, value, ("Retain", "Delete")))
    return found


STATEFUL_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
STATEFUL_FREE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def stateful_set_update(new: Json, old: Json) -> list[FieldError]:
    ours, theirs = (
        {key: value for key, value in (obj.get("spec") or {}).items() if key not in STATEFUL_FREE}
        for obj in (new, old)
    )
    return [forbidden("spec", STATEFUL_FIXED)] if ours != theirs else []


def daemon_set(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    found = check_selector(selector, "spec.selector")
    if _is_readable(selector) and not selects(selector, _labels(template)):
        found.append(_mismatch(template, "spec.template"))
    if selector is not None and is_empty_selector(selector):
        detail = "empty selector is invalid for daemonset"
        found.append(invalid("spec.selector", label_selector(selector), detail))
    found += validate_template(template, "spec.template")
    found += _runs_always(template, "DaemonSet")
    found += not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
    found += _daemon_strategy(spec.get("updateStrategy") or {})
    return found + not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _daemon_strategy(strategy: Json) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    path = "spec.updateStrategy.rollingUpdate"
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        pointer = "nil" if rolling is None else "0xc000000000"
        text = (
            f"apps.DaemonSetUpdateStrategy{{Type:{quote(kind)}, "
            f"RollingUpdate:(*apps.RollingUpdateDaemonSet)({pointer})}}"
        )
        return [not_supported("spec.updateStrategy", Raw(text), ("RollingUpdate", "OnDelete"))]
    if rolling is None:
        return [required(path)]
    down, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found = int_or_percent(down, f"{path}.maxUnavailable")
    found += int_or_percent(surge, f"{path}.maxSurge")
    found += at_most_all(down, f"{path}.maxUnavailable")
    found += at_most_all(surge, f"{path}.maxSurge")
    if _amount(down) and _amount(surge):
        detail = "may not be set when maxUnavailable is non-zero"
        found.append(invalid(f"{path}.maxSurge", int_or_string(surge), detail))
    elif not _amount(down) and not _amount(surge):
        found.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return found
