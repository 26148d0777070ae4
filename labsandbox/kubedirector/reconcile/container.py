"""The containers of members: how they are, and whether they are still the ones that were set up."""

from __future__ import annotations

from labsandbox.kubedirector.model import (
    ABSENT,
    APP_CONTAINER,
    CONFIGURED,
    CREATE_PENDING,
    INITIALIZING,
    RUNNING,
    TERMINATED,
    UNKNOWN,
    UNRESPONSIVE,
    WAITING,
    Object,
)
from labsandbox.kubedirector.reconcile.context import FINAL, Context, detail_of

_STARTING = ("", "ContainerCreating", "PodInitializing")


def container_id(pod: Object | None) -> str:
    """Return the id of a pod's application container; empty when there is none."""
    return str(_app_status(pod).get("containerID") or "")


def is_running(pod: Object | None) -> bool:
    """Say whether a pod's application container runs and can be set up."""
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return False
    phase = (pod.get("status") or {}).get("phase")
    state = _app_status(pod).get("state") or {}
    return phase == "Running" and "running" in state and bool(container_id(pod))


def check_containers(ctx: Context) -> None:
    """Note every member's container state; set members up again whose container was replaced."""
    for _, member in ctx.members():
        pod = ctx.observed.pods.get(member["pod"])
        detail = detail_of(member)
        detail["lastKnownContainerState"] = _describe(ctx, member, pod)
        for key, value in (
            ("schedulingErrorMessage", _scheduling_error(pod)),
            ("storageInitProgress", _storage_progress(pod, detail["lastKnownContainerState"])),
            ("containerMessage", _trouble(pod)),
        ):
            detail.pop(key, None)
            if value:
                detail[key] = value
        changed = container_id(pod) != detail.get("lastConfiguredContainer", "")
        if member["state"] in FINAL and changed:
            _start_over(ctx, member)


def _start_over(ctx: Context, member: Object) -> None:
    detail = detail_of(member)
    if member["state"] == CONFIGURED:
        detail.pop("configErrorDetail", None)  # what the old container's last script said
    member["state"] = CREATE_PENDING
    start = f"container ID has changed for member{{{member['pod']}}}; "
    # The new container gets the configuration of the day in any case.
    detail.pop("lastConfigDataGeneration", None)
    if member.get("pvc"):
        ctx.plan.note("Member", start + "will re-check setup")
        return
    ctx.plan.note("Member", start + "no persistent storage, will re-run setup")
    detail.pop("lastSetupGeneration", None)
    detail.pop("pendingNotifyCmds", None)


def _describe(ctx: Context, member: Object, pod: Object | None) -> str:
    if pod is None:
        return ABSENT
    status = pod.get("status") or {}
    own = _app_status(pod)
    if not own:
        return ABSENT
    state = own.get("state") or {}
    if "terminated" in state:
        return TERMINATED
    if "waiting" in state:
        init = (status.get("initContainerStatuses") or [{}])[0]
        is_copying = bool(init) and "terminated" not in (init.get("state") or {})
        return INITIALIZING if is_copying else WAITING
    if "running" not in state:
        return UNKNOWN
    detail = detail_of(member)
    pushed = detail.get("lastConfigDataGeneration")
    if detail.get("pendingNotifyCmds") or pushed not in (None, ctx.generation):
        return UNRESPONSIVE
    for condition in status.get("conditions") or []:
        if condition.get("type") == "Ready":
            return {"True": RUNNING, "False": UNRESPONSIVE}.get(condition["status"], UNKNOWN)
    return UNKNOWN


def _scheduling_error(pod: Object | None) -> str | None:
    for condition in ((pod or {}).get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "not scheduled")
    return None


def _storage_progress(pod: Object | None, state: str) -> str | None:
    if state != INITIALIZING or pod is None:
        return None
    init = pod["status"]["initContainerStatuses"][0].get("state") or {}
    if "running" in init:
        return "copying the persisted directories of the image to the volume"
    return "storage initialization has not started yet"


def _trouble(pod: Object | None) -> str | None:
    """Return why a container does not run, when it should."""
    own = _app_status(pod)
    state = own.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    reason = waiting.get("reason") or ""
    ended = ended or (own.get("lastState") or {}).get("terminated") or {}
    if "running" in state or (reason in _STARTING and not ended):
        return None
    if ended:
        code = f"exit code {ended.get('exitCode')}"
        return f"container ended: {ended.get('reason') or 'Error'} ({code})"
    return f"container cannot start: {reason} {waiting.get('message') or ''}".rstrip()


def _app_status(pod: Object | None) -> Object:
    for status in ((pod or {}).get("status") or {}).get("containerStatuses") or []:
        if status.get("name") == APP_CONTAINER:
            return dict(status)
    return {}
