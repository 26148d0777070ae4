"""Summing up the members of a kdcluster, so that one look at it tells the truth."""

from __future__ import annotations

from labsandbox.kubedirector.model import (
    ABSENT,
    CONFIG_ERROR,
    CONFIGURED,
    CREATE_PENDING,
    CREATING,
    DELETE_PENDING,
    DELETING,
    INITIALIZING,
    TERMINATED,
    UNRESPONSIVE,
    WAITING,
    Object,
)

_DOWN = (TERMINATED, UNRESPONSIVE, ABSENT)
_FLAGS = (
    "membershipChanging",
    "membersDown",
    "membersInitializing",
    "membersWaiting",
    "membersRestarting",
    "configErrors",
    "membersNotScheduled",
)
_PROBLEM_LENGTH = 160


def sum_up(status: Object) -> None:
    """Write the rollup, and the two fields the printed columns add to it."""
    flags = dict.fromkeys(_FLAGS, False)
    problem = (status.get("restoreProgress") or {}).get("error") or ""
    ready = total = 0
    for role in status["roles"]:
        for member in role["members"]:
            _add(flags, member)
            state, detail = member["state"], member.get("stateDetail") or {}
            if state not in (DELETE_PENDING, DELETING):
                total += 1
                ready += state == CONFIGURED and not detail.get("configErrorDetail")
            problem = problem or _problem(member)
    status["memberStateRollup"] = flags
    status["readyMembers"] = f"{ready}/{total}"
    status["problem"] = problem[:_PROBLEM_LENGTH]


def _add(flags: dict[str, bool], member: Object) -> None:
    state, detail = member["state"], member.get("stateDetail") or {}
    container = detail.get("lastKnownContainerState")
    if state in (CREATE_PENDING, CREATING):
        is_new = not detail.get("lastConfiguredContainer")
        flags["membershipChanging" if is_new else "membersRestarting"] = True
    if state == CREATE_PENDING and container == ABSENT:
        flags["membersWaiting"] = True
        if detail.get("schedulingErrorMessage"):
            flags["membersNotScheduled"] = True
    if state in (DELETE_PENDING, DELETING):
        flags["membershipChanging"] = True
    if state not in (CREATE_PENDING, DELETING) and container in _DOWN:
        flags["membersDown"] = True
    # differs: also set while a member counts as configured but its last start script failed.
    if state == CONFIG_ERROR or detail.get("configErrorDetail"):
        flags["configErrors"] = True
    if container == INITIALIZING:
        flags["membersInitializing"] = True
    if container == WAITING:
        flags["membersWaiting"] = True


def _problem(member: Object) -> str:
    detail = member.get("stateDetail") or {}
    texts = [
        detail.get(key)
        for key in ("configErrorDetail", "schedulingErrorMessage", "containerMessage")
    ]
    text = next(filter(None, texts), None)
    if not text and member["state"] in (CONFIGURED, CONFIG_ERROR):
        container = detail.get("lastKnownContainerState")
        text = f"container is {container}" if container in (TERMINATED, ABSENT) else None
    return f"{member['pod']}: {text}" if text else ""
