"""CronJob: a Job at each moment of a schedule."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

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
    actions = [*_trim(cron, own), *_tell_ended(cron, own)]
    status = _status(cron, own)
    moment = datetime.fromtimestamp(now, UTC)
    plan: schedule.Schedule | None = None
    due: schedule.Due | None = None
    if not spec.get("suspend"):
        try:
            plan = schedule.parse(spec["schedule"], spec.get("timeZone"))
            due = schedule.due(plan, _since(cron, moment), moment)
        except ValueError as error:
            text = f'unparseable schedule: "{spec["schedule"]}" : {error}'
            actions.append(Event(cron, "Warning", "UnparseableSchedule", text))
        except schedule.NeverFires:
            plan = None
            text = (
                f"invalid schedule: {spec['schedule']} : time difference between two schedules is "
                "less than 1 second"
            )
            actions.append(Event(cron, "Warning", "InvalidSchedule", text))
    if due is not None:
        started, active = _start(cron, due, active, moment)
        actions += started
        if any(isinstance(action, Create) for action in started):
            status["lastScheduleTime"] = objects.when(due.moment.timestamp())
    status["active"] = [_reference(job) for job in objects.by_name(active)] or None
    actions += set_status(CRONJOBS, cron, status)
    following = plan.next(moment) if plan else None
    if following is not None:
        actions.append(Again(max(0.05, (following - moment).total_seconds() + 0.02)))
    return actions


def _start(
    cron: Object, due: schedule.Due, active: list[Object], now: datetime
) -> tuple[list[Action], list[Object]]:
    """Return what starts the Job that is due, and the Jobs that stay active."""
    spec = cron["spec"]
    actions: list[Action] = []
    if due.missed > schedule.MANY:
        text = (
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check "
            "clock skew"
        )
        actions.append(Event(cron, "Warning", "TooManyMissedTimes", text))
    if _is_too_late(spec, due.moment, now):
        at = due.moment.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        text = f"Missed scheduled time to start a job: {at}"
        return [*actions, Event(cron, "Warning", "MissSchedule", text)], active
    if spec.get("concurrencyPolicy") == "Forbid" and active:
        text = (
            "Not starting job because prior execution is running and concurrency policy is Forbid"
        )
        return [*actions, Event(cron, "Normal", "JobAlreadyActive", text)], active
    if spec.get("concurrencyPolicy") == "Replace":
        actions += [_delete(cron, job) for job in active]
        active = []
    return [*actions, _create(cron, due.moment)], active


def _status(cron: Object, own: list[Object]) -> Object:
    status = dict(cron.get("status") or {})
    done = [
        job["status"]["completionTime"]
        for job in own
        if (job.get("status") or {}).get("completionTime")
    ]
    if done:
        status["lastSuccessfulTime"] = max([status.get("lastSuccessfulTime") or "", *done])
    return status


def _tell_ended(cron: Object, own: list[Object]) -> list[Action]:
    """Return an event for each Job that the status still lists and that has ended."""
    listed = {entry["uid"] for entry in (cron.get("status") or {}).get("active") or []}
    told: list[Action] = []
    for job in own:
        if job["metadata"]["uid"] in listed and is_finished(job):
            kinds = ("Complete", "Failed")
            how = next(
                kind
                for kind in kinds
                if (objects.condition(job, kind) or {}).get("status") == "True"
            )
            text = f"Saw completed job: {job['metadata']['name']}, condition: {how}"
            told.append(Event(cron, "Normal", "SawCompletedJob", text))
    return told


def _since(cron: Object, now: datetime) -> datetime:
    """Return the moment after which runs are due."""
    last = (cron.get("status") or {}).get("lastScheduleTime")
    since = datetime.fromisoformat(last or cron["metadata"]["creationTimestamp"])
    seconds = cron["spec"].get("startingDeadlineSeconds")
    return since if seconds is None else max(since, now - timedelta(seconds=seconds))


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
