"""The members of a kdcluster: from pod to configured, and from configured to gone."""

from __future__ import annotations

from labsandbox.client.resources import PVCS, SERVICES
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector.model import (
    CONFIG_ERROR,
    CONFIGURED,
    CREATE_PENDING,
    CREATING,
    DELETE_PENDING,
    DELETING,
    NO_SERVICE,
    Object,
)
from labsandbox.kubedirector.reconcile.container import container_id, is_running
from labsandbox.kubedirector.reconcile.context import Context, Role, detail_of
from labsandbox.kubedirector.reconcile.notify import announce, is_announced, next_command
from labsandbox.kubedirector.reconcile.plan import Delete, Job
from labsandbox.kubedirector.reconcile.report import OVERDUE
from labsandbox.kubedirector.reconcile.role import sync_replicas


def sync_members(ctx: Context) -> None:
    """Take the next step with every member."""
    is_blocked = _update_members(ctx)
    for role in ctx.roles:
        _continue_setups(ctx, role, is_blocked)
    if is_blocked:
        ctx.plan.note("Cluster", "cluster spec change processing blocked on member updates")
    else:
        for role in ctx.roles:
            _start_pending(ctx, role)
            _announce_leaving(ctx, role)
            _finish_leaving(ctx, role)
    _send_notifications(ctx)


def _update_members(ctx: Context) -> bool:
    """Give members the new configuration; say whether somebody still has an old one."""
    is_blocked, current = False, ctx.connection_version
    for role, member in ctx.members():
        detail, state = detail_of(member), member["state"]
        pushed = detail.get("lastConfigDataGeneration")
        is_stale = pushed is not None and pushed != ctx.generation
        version = detail.get("lastConnectionVersion", 0)
        is_behind = version < current and ctx.has_package(role.id)
        if state == CREATING:
            is_blocked = is_blocked or is_stale
        elif state == CONFIGURED and (is_stale or is_behind):
            is_blocked = True
            _update(ctx, role, member, reconnect=is_behind)
        elif state == CONFIG_ERROR and is_behind:
            # differs: the original leaves a member in config error alone until its container is
            # replaced. What it was missing may have come with this change.
            member["state"] = CREATING
            detail["configuringContainer"] = detail["lastConfiguredContainer"]
        elif state == CONFIG_ERROR and is_stale:
            _update(ctx, role, member, reconnect=False)
    return is_blocked


def _update(ctx: Context, role: Role, member: Object, *, reconnect: bool) -> None:
    pod = member["pod"]
    if pod in ctx.observed.busy or not is_running(ctx.observed.pods.get(pod)):
        return
    if reconnect:
        ctx.plan.note("Cluster", f"--reconnect will be called for pod : {pod}")
    ctx.plan.jobs.append(
        Job(
            "update",
            pod,
            detail_of(member)["lastConfiguredContainer"],
            role.id,
            version=ctx.connection_version if reconnect else 0,
            reconnect=reconnect,
        )
    )


def _continue_setups(ctx: Context, role: Role, is_blocked: bool) -> None:
    """Set up the members that are being created, or look how far their setup is."""
    current = ctx.connection_version
    for member in role.in_state(CREATING):
        detail, pod = detail_of(member), member["pod"]
        observed_pod = ctx.observed.pods.get(pod)
        if container_id(observed_pod) != detail.get("configuringContainer"):
            _start_anew(ctx, member)
            continue
        has_begun = detail.get("lastConfigDataGeneration") is not None
        if pod in ctx.observed.busy or not is_running(observed_pod):
            continue
        if is_blocked and not has_begun:
            continue
        error = detail.get("configErrorDetail") or ""
        attempt = ""
        if error and not error.startswith(OVERDUE):
            attempt = f"{detail['configuringContainer']}.{current}"
            ctx.plan.note(
                "Member",
                f"member{{{pod}}} was previously in config error state; re-trying setup",
            )
        if "lastConnectionVersion" not in detail or attempt or not has_begun:
            detail["lastConnectionVersion"] = current
        ctx.plan.note("Member", f"initial config ongoing for member{{{pod}}} in role{{{role.id}}}")
        ctx.plan.jobs.append(
            Job(
                "setup",
                pod,
                detail["configuringContainer"],
                role.id,
                version=current,
                persistent=bool(member.get("pvc")),
                attempt=attempt,
            )
        )


def _start_anew(ctx: Context, member: Object) -> None:
    """Wait for a new container: the one that was being set up is gone."""
    member["state"] = CREATE_PENDING
    detail = detail_of(member)
    detail.pop("configuringContainer", None)
    detail.pop("lastConfigDataGeneration", None)
    ctx.plan.note(
        "Member",
        f"previous setup for member{{{member['pod']}}} interrupted; re-trying setup",
    )


def _start_pending(ctx: Context, role: Role) -> None:
    """Scale up for the members to come, and begin with those whose pod runs."""
    pending = role.in_state(CREATE_PENDING)
    if not pending or not sync_replicas(ctx, role):
        return
    assert role.stateful_set is not None
    wanted = int(role.stateful_set["spec"].get("replicas") or 0)
    found = int((role.stateful_set.get("status") or {}).get("replicas") or 0)
    pods = [ctx.observed.pods.get(member["pod"]) for member in pending]
    if found != wanted and not all(pods):
        ctx.plan.note(
            "Role", f"waiting for replicas count for role{{{role.id}}}: {found} -> {wanted}"
        )
        return
    for member, pod in zip(pending, pods, strict=True):
        if pod is None:
            ctx.plan.note(
                "Member",
                f"failed to find member{{{member['pod']}}} in role{{{role.id}}}; will retry",
            )
        elif is_running(pod):
            member["state"] = CREATING
            detail_of(member)["configuringContainer"] = container_id(pod)


def _announce_leaving(ctx: Context, role: Role) -> None:
    leaving = role.in_state(DELETE_PENDING)
    if not leaving:
        return
    announce(ctx, role, "delnodes", [member["pod"] for member in leaving])
    for member in leaving:
        member["state"] = DELETING


def _finish_leaving(ctx: Context, role: Role) -> None:
    """Remove what members left behind, once their pods are gone."""
    leaving = role.in_state(DELETING)
    if not leaving or (role.stateful_set is not None and not sync_replicas(ctx, role)):
        return
    for member in leaving:
        if member["pod"] in ctx.observed.pods or not is_announced(ctx, member["pod"]):
            continue
        service = member.get("service")
        if service and service != NO_SERVICE:
            failure = f"failed to delete service{{{service}}}"
            ctx.plan.actions.append(Delete(SERVICES, service, failure))
        if member.get("pvc"):
            failure = f"failed to delete PVC{{{member['pvc']}}}"
            ctx.plan.actions.append(Delete(PVCS, member["pvc"], failure))
        role.members.remove(member)


def _send_notifications(ctx: Context) -> None:
    busy = ctx.observed.busy | {job.pod for job in ctx.plan.jobs}
    for role, member in ctx.members():
        pod, command = member["pod"], next_command(member)
        if not command or member["state"] != CONFIGURED or pod in busy:
            continue
        if is_running(ctx.observed.pods.get(pod)) and apps.package(ctx.app, role.id):
            container = detail_of(member)["lastConfiguredContainer"]
            ctx.plan.jobs.append(Job("notify", pod, container, role.id, arguments=command))
