"""What became of a Job, from its conditions and its pods: a pure function."""

from __future__ import annotations

from typing import Any

__all__ = ["ACTIVE", "FINAL", "STOPPED", "job_status", "reason"]

Object = dict[str, Any]
SCHEDULING, STARTING, RUNNING = "ENGINE_SCHEDULING", "ENGINE_STARTING", "ENGINE_RUNNING"
STOPPING, STOPPED = "ENGINE_STOPPING", "ENGINE_STOPPED"
SUCCEEDED, FAILED, TIMEDOUT = "ENGINE_SUCCEEDED", "ENGINE_FAILED", "ENGINE_TIMEDOUT"
SKIPPED, UNKNOWN = "ENGINE_SKIPPED", "ENGINE_UNKNOWN"
FINAL = frozenset({STOPPED, SUCCEEDED, FAILED, TIMEDOUT, SKIPPED, UNKNOWN})
ACTIVE = frozenset({SCHEDULING, STARTING, RUNNING, STOPPING})


def job_status(job: Object, pods: list[Object], *, stopping: bool) -> str:
    """Return the state of a run.

    >>> job_status({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, [],
    ...            stopping=False)
    'ENGINE_SUCCEEDED'
    """
    conditions = {
        c["type"]: c.get("reason", "")
        for c in (job.get("status") or {}).get("conditions") or []
        if c["status"] == "True"
    }
    if "Complete" in conditions:
        return SUCCEEDED
    if "Failed" in conditions:
        if conditions["Failed"] == "DeadlineExceeded":
            return TIMEDOUT
        return STOPPED if stopping else FAILED
    alive = [p for p in pods if p.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    if stopping:
        suspended = bool(job.get("spec", {}).get("suspend")) and "Suspended" in conditions
        return STOPPED if suspended and not alive else STOPPING
    if any(p.get("status", {}).get("phase") == "Running" for p in alive):
        return RUNNING
    return STARTING if any(p.get("spec", {}).get("nodeName") for p in alive) else SCHEDULING


def reason(pods: list[Object]) -> str:
    """Return why the newest pod of a run does not start or how it ended, in a sentence."""
    if not pods:
        return ""
    newest = max(pods, key=lambda p: str(p["metadata"].get("creationTimestamp")))
    found = newest.get("status", {})
    both = [*(found.get("initContainerStatuses") or []), *(found.get("containerStatuses") or [])]
    for status in both:
        for word in ("waiting", "terminated"):
            here = (status.get("state") or {}).get(word) or {}
            if here.get("message"):
                return f"{here.get('reason', '')}: {here['message']}".strip(": ")
            if word == "terminated" and here.get("exitCode"):
                return f"{here.get('reason', 'Error')}: exit code {here['exitCode']}"
    for condition in found.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", ""))
    return ""
