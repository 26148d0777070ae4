"""Telling members about members that came or go."""

from __future__ import annotations

from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import naming
from labsandbox.kubedirector.model import CONFIGURED, CREATE_PENDING, CREATING, Object
from labsandbox.kubedirector.reconcile.context import FINAL, Context, Role, detail_of


def announce(ctx: Context, role: Role, event: str, pods: list[str]) -> None:
    """Queue addnodes or delnodes about pods of a role for every member that has to know."""
    fqdns = ",".join(_fqdn(ctx, pod) for pod in pods)
    for other in ctx.roles:
        if not other.in_state(CONFIGURED, CREATE_PENDING, CREATING):
            continue
        if not ctx.has_package(other.id):
            ctx.plan.note("Role", f"notify skipped for members in role{{{other.id}}}")
            continue
        if not apps.wants_event(ctx.app, other.id, event):
            continue
        for member in other.in_state(CONFIGURED, CREATE_PENDING, CREATING):
            detail = detail_of(member)
            setup = detail.get("lastSetupGeneration")
            if member["pod"] in pods or setup is None or setup == ctx.generation:
                continue
            ctx.plan.note("Member", f"will notify member{{{member['pod']}}}: {event}")
            arguments = [f"--{event}", "--nodegroup 1", "--role", role.id, "--fqdns", fqdns]
            queue = detail.setdefault("pendingNotifyCmds", [])
            if {"arguments": arguments} not in queue:
                queue.append({"arguments": arguments})


def is_announced(ctx: Context, pod: str) -> bool:
    """Say whether every member has processed that this pod goes away."""
    fqdn = _fqdn(ctx, pod)
    for _, member in ctx.members():
        if member["state"] not in FINAL:
            continue
        for command in detail_of(member).get("pendingNotifyCmds") or []:
            arguments = command["arguments"]
            if arguments[0] == "--delnodes" and fqdn in arguments[-1].split(","):
                return False
    return True


def settle(ctx: Context) -> None:
    """Let members that have nothing to be told count as up to date, once all are stable."""
    everyone = [member for _, member in ctx.members()]
    if any(member["state"] not in FINAL for member in everyone):
        return
    for member in everyone:
        detail = detail_of(member)
        if member["state"] != CONFIGURED or detail.get("pendingNotifyCmds"):
            continue
        if "lastSetupGeneration" in detail and "lastConfigDataGeneration" in detail:
            detail["lastSetupGeneration"] = detail["lastConfigDataGeneration"]


def next_command(member: Object) -> tuple[str, ...]:
    """Return the oldest notification a member has not processed; empty when there is none."""
    queue = detail_of(member).get("pendingNotifyCmds") or []
    return tuple(queue[0]["arguments"]) if queue else ()


def _fqdn(ctx: Context, pod: str) -> str:
    return naming.fqdn(
        pod,
        ctx.status["clusterService"],
        ctx.cluster["metadata"]["namespace"],
        ctx.observed.settings.domain,
    )
