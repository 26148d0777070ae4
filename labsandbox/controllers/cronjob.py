"""CronJob: a Job at each moment of a schedule."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from labsandbox.client.resources import CRONJOBS, JOBS
from labsandbox.controllers import objects, schedule
from labsandbox.controllers.actions import Action, Again, Create, Delete, Event, set_status
from labsandbox.controllers.job import is_finished

Object = dict[str, Any]

_SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def reconcile(cron: Object, jobs: list[Object], now: float) -> list[Action]:
    """Return the Job that is due, the old ones that go, and the status."""
    if objects.is_deleted(cron):
        return []
    spec = cron["spec"]
    own = [job for job in jobs if objects.owned_by(job, cron)]
    active = [job for job in own if not is_finished(job)]
    actions = _trim(cron, own)
    try:
        plan = schedule.parse(spec["schedule"])
        zone = ZoneInfo(spec["timeZone"]) if spec.get("timeZone") else UTC
    except (ValueError, KeyError, OSError) as error:
        text = f'unparseable schedule: "{spec["schedule"]}" : {error}'
        return [Event(cron, "Warning", "UnparseableSchedule", text)]
    moment = datetime.fromtimestamp(now, UTC)
    status = dict(cron.get("status") or {})
    due = None if spec.get("suspend") else schedule.due(plan, _since(cron), moment, zone)
    if due is not None and not _is_too_late(spec, due, moment):
        if spec.get("concurrencyPolicy") == "Forbid" and active:
            text = (
                "Not starting job because prior execution is running and concurrency policy is "
                "Forbid"
            )
            actions.append(Event(cron, "Normal", "JobAlreadyActive", text))
        else:
            if spec.get("concurrencyPolicy") == "Replace":
                actions += [_delete(cron, job) for job in active]
                active = []
            made = _create(cron, due)
            actions.append(made)
            status["lastScheduleTime"] = objects.when(due.timestamp())
    status["active"] = [_reference(job) for job in objects.by_name(active)] or None
    done = [
        job["status"]["completionTime"]
        for job in own
        if (job.get("status") or {}).get("completionTime")
    ]
    if done:
        status["lastSuccessfulTime"] = max([status.get("lastSuccessfulTime") or "", *done])
    actions += set_status(CRONJOBS, cron, status)
    following = plan.next(moment.astimezone(zone))
    if following is not None and not spec.get("suspend"):
        actions.append(Again(max(0.05, (following - moment).total_seconds() + 0.02)))
    return actions


def _since(cron: Object) -> datetime:
    """Return the moment after which runs are due."""
    last = (cron.get("status") or {}).get("lastScheduleTime")
    since = datetime.fromisoformat(last or cron["metadata"]["creationTimestamp"])
    seconds = cron["spec"].get("startingDeadlineSeconds")
    if seconds is not None:
        since = max(since, datetime.now(UTC) - timedelta(seconds=seconds))
    return since


def _is_too_late(spec: Object, due: datetime, now: datetime) -> bool:
    seconds = spec.get("startingDeadlineSeconds")
    return seconds is not None and now - due > timedelta(seconds=seconds)


def _create(cron: Object, due: datetime) -> Create:
    template = copy.deepcopy(cron["spec"]["jobTemplate"])
    meta = template.get("metadata") or {}
    name = f"{cron['metadata']['name']}-{int(due.timestamp()) // 60}"
    job = {
        "metadata": {
            "name": name,
            "namespace": cron["metadata"]["namespace"],
            "labels": meta.get("labels") or {},
            "annotations": {
                **(meta.get("annotations") or {}),
                _SCHEDULED: due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "ownerReferences": [objects.reference_to(cron, "batch/v1", "CronJob")],
        },
        "spec": template["spec"],
    }
    event = Event(cron, "Normal", "SuccessfulCreate", f"Created job {name}")
    return Create(JOBS, job, on_success=(event,), is_patient=True)


def _reference(job: Object) -> Object:
    meta = job["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": meta["name"],
        "namespace": meta["namespace"],
        "uid": meta["uid"],
        "resourceVersion": meta["resourceVersion"],
    }


def _delete(cron: Object, job: Object) -> Delete:
    meta = job["metadata"]
    event = Event(cron, "Normal", "SuccessfulDelete", f"Deleted job {meta['name']}")
    return Delete(
        JOBS, meta["name"], meta["namespace"], meta["uid"], "Background", on_success=(event,)
    )


def _trim(cron: Object, own: list[Object]) -> list[Action]:
    """Return the deletion of finished Jobs beyond the history's limits."""
    spec = cron["spec"]
    actions: list[Action] = []
    for kind, limit in (
        ("Complete", spec.get("successfulJobsHistoryLimit", 3)),
        ("Failed", spec.get("failedJobsHistoryLimit", 1)),
    ):
        ended = [
            job
            for job in own
            if (found := objects.condition(job, kind)) and found["status"] == "True"
        ]
        ended.sort(key=lambda job: str((job.get("status") or {}).get("startTime")))
        actions += [_delete(cron, job) for job in ended[: max(0, len(ended) - limit)]]
    return actions
