"""Job: run pods until enough have succeeded, or too many have failed.

No ended pod is counted twice or never: its finalizer stays until the Job's status has its uid
(`uncountedTerminatedPods`), and the counter grows only when the finalizer is gone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from labsandbox.client.resources import JOBS, PODS
from labsandbox.controllers import indexes, jobpolicy, objects
from labsandbox.controllers.actions import Action, Again, Create, Delete, Event, Patch
from labsandbox.controllers.replicaset import create_pod, least_wanted

Object = dict[str, Any]

TRACKING = "batch.kubernetes.io/job-tracking"
_BACKOFF, _LONGEST_BACKOFF = 10.0, 600.0
_REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")


@dataclass(frozen=True)
class Count:
    """A Job's pods, sorted."""

    active: list[Object]
    terminating: list[Object]
    succeeded: list[str]  # ended, not yet in a counter: their uids
    failed: list[str]
    held: list[Object]  # ended and still with the finalizer
    ended: dict[str, Object]
    total_succeeded: int
    total_failed: int


def is_finished(job: Object) -> bool:
    """Say whether a Job has come to its end."""
    return any(
        c["type"] in ("Complete", "Failed") and c["status"] == "True"
        for c in (job.get("status") or {}).get("conditions") or []
    )


def count(job: Object, pods: list[Object]) -> Count:
    """Sort a Job's pods by what became of them."""
    status = job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    succeeded, failed = list(uncounted.get("succeeded") or []), list(uncounted.get("failed") or [])
    active, terminating, held, ended = [], [], [], {}
    for pod in pods:
        uid, phase = pod["metadata"]["uid"], objects.phase(pod)
        is_over = phase in ("Succeeded", "Failed")
        if not is_over and not objects.is_deleted(pod):
            active.append(pod)
            continue
        if not is_over:
            terminating.append(pod)
            if replaces_only_failed(job):
                continue  # It counts once it has come to its end.
        ended[uid] = pod
        if is_tracked(pod):
            held.append(pod)
            if uid in succeeded or uid in failed:
                continue
            if phase == "Succeeded":
                succeeded.append(uid)
            elif not _is_ignored(job, pod):
                failed.append(uid)
    return Count(
        active,
        terminating,
        succeeded,
        failed,
        held,
        ended,
        (status.get("succeeded") or 0) + len(succeeded),
        (status.get("failed") or 0) + len(failed),
    )


def replaces_only_failed(job: Object) -> bool:
    """Say whether a pod that is being deleted is replaced, and counted, only at its end."""
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def _is_ignored(job: Object, pod: Object) -> bool:
    match = jobpolicy.judge(job, pod)
    return match is not None and match.action == "Ignore"


def reconcile(job: Object, pods: list[Object], now: float) -> list[Action]:
    """Return the next step of a Job."""
    own = [pod for pod in pods if objects.owned_by(pod, job)]
    if objects.is_deleted(job):
        return [
            release(pod) for pod in own if TRACKING in (pod["metadata"].get("finalizers") or [])
        ]
    counted = count(job, own)
    if is_finished(job):
        return [*map(release, counted.held), *_expire(job, now)]
    spec, status = job["spec"], job.get("status") or {}
    suspended = bool(spec.get("suspend"))
    started = status.get("startTime") or (None if suspended else objects.when(now))
    if not suspended and _condition_of(job, "Suspended", "True"):
        started = objects.when(now)
    verdict = _verdict(job, own, counted, started, now)
    actions: list[Action] = []
    active = len(counted.active)
    if verdict is not None or suspended:
        actions += [_delete(job, pod) for pod in counted.active]
        active = 0
    else:
        managed = _manage(job, own, counted, now)
        actions += managed
        active += sum(isinstance(a, Create) for a in managed)
        active -= sum(isinstance(a, Delete) for a in managed)
    written = _write_status(job, counted, active, started, verdict, suspended, now)
    return [*actions, *written, *([] if verdict else _deadline(job, started, now))]


def _verdict(
    job: Object, own: list[Object], counted: Count, started: str | None, now: float
) -> tuple[str, str, str] | None:
    """Return (type, reason, message) of the end a Job has come to."""
    spec = job["spec"]
    for mark, kind in (("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")):
        decided = objects.condition(job, mark)
        if decided is not None and decided["status"] == "True":
            return kind, decided["reason"], decided.get("message", "")
    for pod in counted.held:
        match = jobpolicy.judge(job, pod) if objects.phase(pod) == "Failed" else None
        if match is not None and match.action == "FailJob":
            return "Failed", "PodFailurePolicy", match.message
    limit = spec.get("backoffLimit", 6)
    policy = spec["template"]["spec"].get("restartPolicy")
    restarts = sum(
        container.get("restartCount", 0)
        for pod in own
        for container in (pod.get("status") or {}).get("containerStatuses") or []
    )
    has_retried = policy == "OnFailure" and restarts > 0 and restarts >= limit
    if counted.total_failed > limit or has_retried:
        text = "Job has reached the specified backoff limit"
        return "Failed", "BackoffLimitExceeded", text
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and started and now - objects.moment(started) >= seconds:
        text = "Job was active longer than specified deadline"
        return "Failed", "DeadlineExceeded", text
    wanted = spec.get("completions")
    if wanted is None:
        is_done = counted.total_succeeded > 0 and not counted.active
    elif indexes.is_indexed(job):
        return _verdict_of_indexes(job, own, wanted)
    else:
        is_done = counted.total_succeeded >= wanted
    return ("Complete", *_REACHED) if is_done else None


def _verdict_of_indexes(job: Object, own: list[Object], wanted: int) -> tuple[str, str, str] | None:
    done = indexes.completed(job, own)
    failed = jobpolicy.failed_indexes(job, own, done)
    most = job["spec"].get("maxFailedIndexes")
    if most is not None and len(failed) > most:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return "Failed", "MaxFailedIndexesExceeded", text
    if failed and len(done) + len(failed) >= wanted:
        return "Failed", "FailedIndexes", "Job has failed indexes"
    met = jobpolicy.has_succeeded(job, done)
    if met is not None:
        return "Complete", "SuccessPolicy", met
    return ("Complete", *_REACHED) if len(done) >= wanted else None


def _manage(job: Object, own: list[Object], counted: Count, now: float) -> list[Action]:
    """Return the pods to create or delete so that as many run as shall."""
    spec = job["spec"]
    parallelism, wanted = spec.get("parallelism", 1), spec.get("completions")
    if wanted is None:
        most = len(counted.active) if counted.total_succeeded else parallelism
    else:
        most = min(parallelism, max(0, wanted - counted.total_succeeded))
        if indexes.is_indexed(job):
            most = min(parallelism, len(_open_indexes(job, own)))
    surplus = len(counted.active) - most
    if surplus > 0:
        return [_delete(job, pod) for pod in least_wanted(counted.active)[:surplus]]
    missing = -surplus - (len(counted.terminating) if replaces_only_failed(job) else 0)
    if missing <= 0:
        return []
    wait = _backoff(counted, now)
    if wait > 0:
        return [Again(wait)]
    if indexes.is_indexed(job):
        busy = {indexes.of(pod) for pod in counted.active}
        free = [index for index in _open_indexes(job, own) if index not in busy][:missing]
        return [_create(job, index) for index in free]
    return [_create(job, None) for _ in range(missing)]


def _open_indexes(job: Object, own: list[Object]) -> list[int]:
    """Return the indexes that have neither succeeded nor failed for good."""
    done = indexes.completed(job, own)
    closed = done | jobpolicy.failed_indexes(job, own, done)
    return [number for number in range(job["spec"].get("completions") or 0) if number not in closed]


def _backoff(counted: Count, now: float) -> float:
    """Return the seconds to wait after failures: 10 s, doubled for each further one."""
    ended = [_finished_at(pod) for pod in counted.ended.values() if objects.phase(pod) == "Failed"]
    good = [
        _finished_at(pod) for pod in counted.ended.values() if objects.phase(pod) == "Succeeded"
    ]
    since = max(good, default=0.0)
    recent = [moment for moment in ended if moment > since]
    if not recent:
        return 0
    pause: float = min(_BACKOFF * 2 ** (len(recent) - 1), _LONGEST_BACKOFF)
    return max(0.0, max(recent) + pause - now)


def _finished_at(pod: Object) -> float:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    ends = [
        objects.moment(((s.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for s in statuses
    ]
    return max(ends, default=0.0) or objects.moment(pod["metadata"].get("creationTimestamp"))


def _create(job: Object, index: int | None) -> Create:
    owner = copy.copy(job)
    made = create_pod(owner, "batch/v1", "Job")
    made.obj["metadata"]["finalizers"] = [TRACKING]
    if index is not None:
        indexes.mark(job, made.obj, index)
    return made


def _delete(job: Object, pod: Object) -> Delete:
    meta = pod["metadata"]
    event = Event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}")
    return Delete(PODS, meta["name"], meta["namespace"], meta["uid"], on_success=(event,))


def is_tracked(pod: Object) -> bool:
    """Say whether a pod still has to be counted."""
    return TRACKING in (pod["metadata"].get("finalizers") or [])


def release(pod: Object) -> Patch:
    """Return the removal of the finalizer that keeps a pod until it is counted."""
    meta = pod["metadata"]
    kept = [name for name in meta.get("finalizers") or [] if name != TRACKING]
    patch = {"metadata": {"uid": meta["uid"], "finalizers": kept or None}}
    return Patch(PODS, meta["name"], meta["namespace"], patch)


def _condition_of(job: Object, kind: str, status: str) -> bool:
    found = objects.condition(job, kind)
    return found is not None and found["status"] == status


def _with(
    conditions: list[Object], kind: str, status: str, reason: str, message: str, now: float
) -> list[Object]:
    if any(c["type"] == kind and c["status"] == status for c in conditions):
        return conditions
    stamp = objects.when(now)
    wanted = {
        "type": kind,
        "status": status,
        "lastProbeTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }
    return [*(c for c in conditions if c["type"] != kind), wanted]


def _write_status(
    job: Object,
    counted: Count,
    active: int,
    started: str | None,
    verdict: tuple[str, str, str] | None,
    suspended: bool,
    now: float,
) -> list[Action]:
    """Return the writes that note ended pods, release them, count them, and then the end."""
    before = job.get("status") or {}
    conditions = list(before.get("conditions") or [])
    if suspended:
        reason, text = "JobSuspended", "Job suspended"
        conditions = _with(conditions, "Suspended", "True", reason, text, now)
    elif _condition_of(job, "Suspended", "True"):
        conditions = _with(conditions, "Suspended", "False", "JobResumed", "Job resumed", now)
    if verdict is not None:
        first = "SuccessCriteriaMet" if verdict[0] == "Complete" else "FailureTarget"
        conditions = _with(conditions, first, "True", verdict[1], verdict[2], now)
    noted: Object = {
        "conditions": conditions or None,
        "startTime": started,
        "active": active or None,
        "succeeded": before.get("succeeded"),
        "failed": before.get("failed"),
        "terminating": len(counted.terminating),
        "ready": sum(objects.is_ready(pod) for pod in counted.active) if active else 0,
        "uncountedTerminatedPods": {
            "succeeded": counted.succeeded or None,
            "failed": counted.failed or None,
        },
    }
    if indexes.is_indexed(job):
        done = indexes.completed(job, counted.ended.values())
        noted["completedIndexes"] = indexes.write(done)
        if job["spec"].get("backoffLimitPerIndex") is not None:
            failed = jobpolicy.failed_indexes(job, counted.ended.values(), done)
            # An empty text says that none has failed yet.
            noted["failedIndexes"] = indexes.write(failed) or ""
    actions = _patch(job, before, noted)
    actions += [release(pod) for pod in counted.held]
    final = {
        **noted,
        "succeeded": counted.total_succeeded or None,
        "failed": counted.total_failed or None,
        "uncountedTerminatedPods": {"succeeded": None, "failed": None},
    }
    # The end is told when nothing runs any more.
    is_over = verdict is not None and not counted.active and not counted.terminating
    if verdict is not None and is_over:
        kind, reason, message = verdict
        final["conditions"] = _with(conditions, kind, "True", reason, message, now)
        if kind == "Complete":
            final["completionTime"] = objects.when(now)
    actions += _patch(job, noted, final)
    if verdict is not None and is_over:
        actions.append(_tell_end(job, *verdict))
    if suspended and not _condition_of(job, "Suspended", "True"):
        actions.append(Event(job, "Normal", "Suspended", "Job suspended"))
    return actions


def _tell_end(job: Object, kind: str, reason: str, message: str) -> Event:
    if kind == "Complete":
        return Event(job, "Normal", "Completed", "Job completed")
    return Event(job, "Warning", reason, message)


def _patch(job: Object, before: Object, after: Object) -> list[Action]:
    """Return the merge of a status, or nothing when nothing changes."""
    if _bare(before) == _bare(after) and "uncountedTerminatedPods" in before:
        return []
    meta = job["metadata"]
    return [Patch(JOBS, meta["name"], meta["namespace"], {"status": after}, "status")]


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if inner is not None}
    return value


def _deadline(job: Object, started: str | None, now: float) -> list[Action]:
    seconds = job["spec"].get("activeDeadlineSeconds")
    if seconds is None or started is None:
        return []
    return [Again(max(0.05, objects.moment(started) + seconds - now))]


def _expire(job: Object, now: float) -> list[Action]:
    """Return the deletion of a finished Job whose time to live is over."""
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    if seconds is None:
        return []
    ends = [
        objects.moment(c["lastTransitionTime"])
        for c in job["status"]["conditions"]
        if c["type"] in ("Complete", "Failed") and c["status"] == "True"
    ]
    left = max(ends) + seconds - now
    if left > 0:
        return [Again(left)]
    meta = job["metadata"]
    return [Delete(JOBS, meta["name"], meta["namespace"], meta["uid"], "Foreground")]
