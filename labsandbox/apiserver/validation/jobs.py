"""Jobs and CronJobs."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from labsandbox.apiserver.validation import names
from labsandbox.apiserver.validation.cron import schedule_error
from labsandbox.apiserver.validation.errors import (
    OMIT,
    FieldError,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.gopod import template_text
from labsandbox.apiserver.validation.goprint import Raw, label_selector, string_map
from labsandbox.apiserver.validation.meta import IMMUTABLE, not_negative, selects
from labsandbox.apiserver.validation.meta import label_selector as check_selector
from labsandbox.apiserver.validation.pods import validate_template
from labsandbox.apiserver.validation.workloads import MISMATCH

Json = dict[str, Any]
UID_LABEL = "batch.kubernetes.io/controller-uid"
MODES = ("Indexed", "NonIndexed")
COUNTERS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
)


def job(obj: Json) -> list[FieldError]:
    metadata, spec = obj.get("metadata") or {}, obj.get("spec") or {}
    found = _generated_selector(metadata, spec)
    found += job_spec(spec, "spec", with_selector=True)
    total = spec.get("completions")
    if spec.get("completionMode") == "Indexed" and total:
        host = f"{metadata.get('name', '')}-{total - 1}"
        for message in names.label(host):
            detail = f"will not able to create pod with invalid DNS label: {host}"
            found.append(invalid("metadata.name", metadata.get("name", ""), detail))
            del message
    return found


def _generated_selector(metadata: Json, spec: Json) -> list[FieldError]:
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return []
    expected = {UID_LABEL: metadata.get("uid", "")}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    found: list[FieldError] = []
    wanted = {**expected, "batch.kubernetes.io/job-name": metadata.get("name", "")}
    for key, value in wanted.items():
        if labels.get(key) is None:
            detail = f"must be '{value}'"
            path = "spec.template.metadata"
            found.append(required(f"{path}.labels[{key}]", detail))
        elif labels[key] != value:
            detail = f"must be '{value}'"
            found.append(
                invalid(f"spec.template.metadata.labels[{key}]", string_map(labels), detail)
            )
    old_style = {"controller-uid": metadata.get("uid", "")}
    if selector.get("matchExpressions") or selector.get("matchLabels") not in (expected, old_style):
        detail = "`selector` not auto-generated"
        found.append(invalid("spec.selector", label_selector(selector), detail))
    return found


def job_spec(spec: Json, path: str, with_selector: bool) -> list[FieldError]:
    """The spec of a Job, or of a CronJob's template (without a selector)."""
    found: list[FieldError] = []
    for name in COUNTERS:
        found += not_negative(f"{path}.{name}", spec.get(name))
    if spec.get("maxFailedIndexes") is not None:
        found += not_negative(f"{path}.maxFailedIndexes", spec["maxFailedIndexes"])
        if spec.get("backoffLimitPerIndex") is None:
            detail = "when maxFailedIndexes is specified"
            found.append(required(f"{path}.backoffLimitPerIndex", detail))
    mode = spec.get("completionMode")
    if mode is not None and mode not in MODES:
        found.append(not_supported(f"{path}.completionMode", mode, MODES))
    if mode == "Indexed" and spec.get("completions") is None:
        found.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if mode != "Indexed":
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                detail = "requires indexed completion mode"
                found.append(invalid(f"{path}.{name}", spec[name], detail))
    found += _replacement(spec, f"{path}.podReplacementPolicy")
    template = spec.get("template") or {}
    found += validate_template(template, f"{path}.template")
    restart = (template.get("spec") or {}).get("restartPolicy")
    where = f"{path}.template.spec.restartPolicy"
    if restart not in ("OnFailure", "Never"):
        found.append(required(where, 'valid values: "OnFailure", "Never"'))
    if spec.get("podFailurePolicy") is not None and restart != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        found.append(invalid(where, restart, detail))
    if with_selector:
        found += _selector(spec, path)
    return found


def _selector(spec: Json, path: str) -> list[FieldError]:
    selector = spec.get("selector")
    found = [required(f"{path}.selector")] if selector is None else []
    problems = check_selector(selector, f"{path}.selector")
    found += problems
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if not problems and not selects(selector, labels):
        found.append(invalid(f"{path}.template.metadata.labels", string_map(labels), MISMATCH))
    return found


def _replacement(spec: Json, path: str) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return []
    allowed = ("Failed", "TerminatingOrFailed")
    if spec.get("podFailurePolicy") is not None:
        allowed = ("Failed",)  # type: ignore[assignment]
    return [] if policy in allowed else [not_supported(path, policy, allowed)]


def job_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found = job_spec(spec, "spec", with_selector=True)
    found += _completions(spec, before)
    if spec.get("selector") != before.get("selector"):
        shown = label_selector(spec.get("selector"))
        found.append(invalid("spec.selector", shown, IMMUTABLE))
    found += _template(new, old)
    for name in (
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        if spec.get(name) != before.get(name):
            found.append(invalid(f"spec.{name}", spec.get(name), IMMUTABLE))
    return found


def _completions(spec: Json, before: Json) -> list[FieldError]:
    new, old = spec.get("completions"), before.get("completions")
    if new == old:
        return []
    if before.get("completionMode") != "Indexed":
        return [invalid("spec.completions", new, IMMUTABLE)]
    if new is None or old is None or new != spec.get("parallelism"):
        detail = "can only be modified in tandem with spec.parallelism"
        return [invalid("spec.completions", new, detail)]
    return []


def _template(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    template, stored = spec.get("template") or {}, before.get("template") or {}
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        template, stored = _fixed_part(template), _fixed_part(stored)
    if template == stored:
        return []
    return [invalid("spec.template", Raw(template_text(spec.get("template") or {})), IMMUTABLE)]


def _fixed_part(template: Json) -> Json:
    """What of a template may not change while a job waits to start."""
    spec = dict(template.get("spec") or {})
    for name in ("nodeSelector", "tolerations", "schedulingGates"):
        spec.pop(name, None)
    affinity = dict(spec.get("affinity") or {})
    affinity.pop("nodeAffinity", None)
    spec["affinity"] = affinity
    return {"spec": spec}


def _is_true(status: Json, kind: str) -> bool:
    rows = status.get("conditions") or ()
    return any(row.get("type") == kind and row.get("status") == "True" for row in rows)


def job_status(new: Json, old: Json) -> list[FieldError]:
    """Which states of a job go together."""
    status, before = new.get("status") or {}, old.get("status") or {}
    found: list[FieldError] = []
    for name in ("active", "succeeded", "failed", "ready", "terminating"):
        found += not_negative(f"status.{name}", status.get(name))
    if status == before:
        return found
    complete, failed = _is_true(status, "Complete"), _is_true(status, "Failed")
    finished = complete or failed
    if finished and status.get("active", 0) > 0:
        detail = "active>0 is invalid for finished job"
        found.append(invalid("status.active", status["active"], detail))
    if finished and status.get("terminating"):
        detail = "terminating>0 is invalid for finished job"
        found.append(invalid("status.terminating", status["terminating"], detail))
    done, start = status.get("completionTime"), status.get("startTime")
    if complete and done is None:
        detail = "completionTime is required for Complete jobs"
        found.append(required("status.completionTime", detail))
    if done is not None and not complete:
        detail = "cannot set completionTime when there is no Complete=True condition"
        found.append(invalid("status.completionTime", Raw(done), detail))
    if done is not None and start is not None and done < start:
        detail = "completionTime cannot be set before startTime"
        found.append(invalid("status.completionTime", Raw(done), detail))
    found += _conditions(status, complete, failed)
    if finished and start is None:
        detail = "startTime is required for finished job"
        found.append(required("status.startTime", detail))
    return found


def _conditions(status: Json, complete: bool, failed: bool) -> list[FieldError]:
    met, target = _is_true(status, "SuccessCriteriaMet"), _is_true(status, "FailureTarget")
    said: list[str] = []
    if complete and failed:
        said.append("cannot set Complete=True and Failed=true conditions")
    if complete and target:
        said.append("cannot set Complete=True and FailureTarget=true conditions")
    if failed and met:
        said.append("cannot set Failed=True and SuccessCriteriaMet=true conditions")
    if met and target:
        said.append("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    if complete and not met:
        said.append(
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        )
    if failed and not target:
        said.append("cannot set Failed=True condition without the FailureTarget=true condition")
    return [invalid("status.conditions", OMIT, text) for text in said]


def cron_job(obj: Json, is_new: bool = True) -> list[FieldError]:
    spec, name = obj.get("spec") or {}, (obj.get("metadata") or {}).get("name", "")
    found: list[FieldError] = []
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if not schedule:
        found.append(required("spec.schedule"))
    else:
        problem = schedule_error(schedule)
        if problem:
            found.append(invalid("spec.schedule", schedule, problem))
        if "TZ" in schedule:
            detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            found.append(invalid("spec.schedule", schedule, detail))
    found += not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    found += _zone(zone)
    policy = spec.get("concurrencyPolicy", "")
    allowed = ("Allow", "Forbid", "Replace")
    if not policy:
        found.append(required("spec.concurrencyPolicy"))
    elif policy not in allowed:
        found.append(not_supported("spec.concurrencyPolicy", policy, allowed))
    template = (spec.get("jobTemplate") or {}).get("spec") or {}
    found += job_spec(template, "spec.jobTemplate.spec", with_selector=False)
    for counter in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        found += not_negative(f"spec.{counter}", spec.get(counter))
    if is_new and len(name) > 52:
        found.append(invalid("metadata.name", name, "must be no more than 52 characters"))
    return found


def _zone(zone: str | None) -> list[FieldError]:
    if zone is None:
        return []
    path = "spec.timeZone"
    if not zone:
        return [invalid(path, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        detail = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        return [invalid(path, zone, detail)]
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return [invalid(path, zone, f"unknown time zone {zone}")]
    return []
