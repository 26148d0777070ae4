"""Taking in what jobs in members reported."""

from __future__ import annotations

from labsandbox.kubedirector.model import CONFIG_ERROR, CONFIGURED, CREATING, Object
from labsandbox.kubedirector.reconcile.context import Context, Role, detail_of
from labsandbox.kubedirector.reconcile.notify import announce
from labsandbox.kubedirector.reconcile.plan import Report

OVERDUE = "the start script has not finished"


def take_reports(ctx: Context) -> None:
    """Move members on by what their jobs reported."""
    arrived: dict[str, list[str]] = {}
    for role, member in ctx.members():
        report = ctx.observed.reports.get(member["pod"])
        if report is None:
            continue
        if report.kind == "setup" and member["state"] == CREATING:
            if _take_setup(ctx, role, member, report):
                arrived.setdefault(role.id, []).append(member["pod"])
        elif report.kind == "update":
            _take_update(ctx, role, member, report)
        elif report.kind == "notify":
            _take_notify(ctx, role, member, report)
    for role in ctx.roles:
        if role.id in arrived:
            announce(ctx, role, "addnodes", arrived[role.id])


def _take_setup(ctx: Context, role: Role, member: Object, report: Report) -> bool:
    """Take in how a setup is; say whether a member came to the cluster by it."""
    detail, answer = detail_of(member), report.answer
    if report.container != detail.get("configuringContainer"):
        return False
    _keep_output(detail, report)
    if answer.state == "running":
        if answer.generation is not None:
            detail["lastConfigDataGeneration"] = answer.generation
        if report.overdue:
            _note_overdue(ctx, role, member, report)
        else:
            detail.pop("configErrorDetail", None)
        return False
    where = f"for member{{{member['pod']}}} in role{{{role.id}}}"
    problem = None
    if answer.state == "failed" and ctx.has_package(role.id):
        problem = answer.detail
    elif answer.state == "exited" and answer.code != 0:
        problem = f"configure failed with exit status {{{answer.code}}}"
    elif answer.state == "lost":
        return False  # the status file went away under our feet: the next pass starts over
    if answer.generation is not None:
        detail["lastConfigDataGeneration"] = answer.generation
    if answer.state == "exited":
        detail["lastSetupGeneration"] = detail.get("lastConfigDataGeneration", ctx.generation)
        detail.pop("pendingNotifyCmds", None)
    if problem is None:
        detail.pop("configErrorDetail", None)
        member["state"] = CONFIGURED
        word = "done" if ctx.has_package(role.id) else "skipped"
        ctx.plan.note("Member", f"initial config {word} {where}")
        _pass_on(ctx, role, member)
    else:
        detail["configErrorDetail"] = f"execution of app config failed: {problem}"
        member["state"] = CONFIG_ERROR
        ctx.plan.note(
            "Member",
            f"failed to run initial config {where}: {problem}{_last_words(detail)}",
            warning=True,
        )
    is_new = not detail.get("lastConfiguredContainer")
    detail["lastConfiguredContainer"] = detail.pop("configuringContainer", report.container)
    return is_new


def _take_update(ctx: Context, role: Role, member: Object, report: Report) -> None:
    detail, answer = detail_of(member), report.answer
    if report.container != detail.get("lastConfiguredContainer"):
        return
    if answer.state == "running" and not report.overdue:
        _keep_output(detail, report)
        return
    if answer.state == "lost":
        return
    problem = None
    if answer.state == "running":
        problem = f"{OVERDUE} --reconnect after {report.overdue:.0f} s"
    elif answer.state == "failed":
        problem = answer.detail
    elif answer.code != 0:
        problem = f"--reconnect failed with exit status {{{answer.code}}}"
    if answer.generation is not None:
        detail["lastConfigDataGeneration"] = answer.generation
    else:
        detail["lastConfigDataGeneration"] = ctx.generation
    if report.version:
        _keep_output(detail, report)
        detail["lastConnectionVersion"] = report.version
    if problem:
        # differs: the original starts --reconnect and never looks at it again. The member stays
        # configured, because it still serves what it served before.
        detail["configErrorDetail"] = problem
        ctx.plan.note(
            "Member",
            f"failed to run startscript with --reconnect in member{{{member['pod']}}} in "
            f"role{{{role.id}}}: {problem}{_last_words(detail)}",
            warning=True,
        )
    elif report.version and member["state"] == CONFIGURED:
        detail.pop("configErrorDetail", None)
        _pass_on(ctx, role, member)


def _take_notify(ctx: Context, role: Role, member: Object, report: Report) -> None:
    detail, answer = detail_of(member), report.answer
    _keep_output(detail, report)
    if answer.state == "lost" or (answer.state == "running" and not report.overdue):
        return
    queue = detail.get("pendingNotifyCmds") or []
    if queue and tuple(queue[0]["arguments"]) == report.arguments:
        queue = queue[1:]
    detail["pendingNotifyCmds"] = queue
    problem = None
    if answer.state == "running":
        problem = f"{OVERDUE} after {report.overdue:.0f} s"
    elif answer.state == "failed":
        problem = answer.detail
    elif answer.code != 0:
        problem = f"exit status {{{answer.code}}}"
    if problem:
        # differs: the original repeats a failing notification for ever, and the cluster never
        # becomes stable again.
        detail["configErrorDetail"] = f"{' '.join(report.arguments)} failed: {problem}"
        ctx.plan.note(
            "Member",
            f"failed to notify member{{{member['pod']}}} about member changes: "
            f"{problem}{_last_words(detail)}",
            warning=True,
        )
    if not queue:
        detail.pop("pendingNotifyCmds")


def _pass_on(ctx: Context, role: Role, member: Object) -> None:
    """Record what a start script that succeeded had to say, for example of a model it left out."""
    line = _last_line(detail_of(member))
    if line:
        where = f"member{{{member['pod']}}} in role{{{role.id}}}"
        ctx.plan.note("Member", f"start script of {where} said: {line}")


def _note_overdue(ctx: Context, role: Role, member: Object, report: Report) -> None:
    detail = detail_of(member)
    detail["configErrorDetail"] = f"{OVERDUE} --configure after {report.overdue:.0f} s"
    ctx.plan.note(
        "Member",
        f"initial config for member{{{member['pod']}}} in role{{{role.id}}} takes long: "
        f"{detail['configErrorDetail']}{_last_words(detail)}",
        warning=True,
    )


def _keep_output(detail: Object, report: Report) -> None:
    detail["startScriptStdoutMessage"] = report.answer.stdout
    detail["startScriptStderrMessage"] = report.answer.stderr
    for key in ("startScriptStdoutMessage", "startScriptStderrMessage"):
        if not detail[key]:
            del detail[key]


def _last_words(detail: Object) -> str:
    """Return the last line the start script wrote, to end a sentence with."""
    line = _last_line(detail)
    return f"; it last wrote: {line}" if line else ""


def _last_line(detail: Object) -> str:
    text = detail.get("startScriptStderrMessage") or detail.get("startScriptStdoutMessage") or ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
