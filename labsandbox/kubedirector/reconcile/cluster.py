"""One pass over a kdcluster: from what is observed to what is to be done."""

from __future__ import annotations

import copy

from labsandbox.client.resources import KDSTATUSBACKUPS
from labsandbox.kubedirector.model import (
    ANNOTATION_BACKUP,
    ANNOTATION_HASH,
    CONFIGURED,
    CREATING,
    FINALIZER,
    LABEL_RESTORING,
    SPEC_MODIFIED,
    UPDATING,
    Object,
    annotations_of,
    labels_of,
    owner_reference,
)
from labsandbox.kubedirector.reconcile import container, member, notify, report, role, service
from labsandbox.kubedirector.reconcile.context import Context, load_roles
from labsandbox.kubedirector.reconcile.plan import Bump, Create, Delete, Note, Observed, Patch, Plan
from labsandbox.kubedirector.reconcile.restore import restore
from labsandbox.kubedirector.reconcile.rollup import sum_up


def reconcile(observed: Observed) -> Plan:
    """Return what to do about a kdcluster now."""
    cluster, plan = observed.cluster, Plan()
    meta = cluster["metadata"]
    finalizers = meta.get("finalizers") or []
    if meta.get("deletionTimestamp"):
        plan.is_gone = True
        if FINALIZER in finalizers:
            plan.finalizer = False
            plan.note("Cluster", "greenlighting for deletion")
        return plan
    status = _status_of(cluster)
    if LABEL_RESTORING in labels_of(cluster):
        plan.status = restore(observed, plan, status)
        sum_up(plan.status)
        return plan
    status.pop("restoreProgress", None)
    plan.status = status
    if FINALIZER not in finalizers:
        plan.finalizer = True
    if observed.app is None:
        plan.note("Cluster", "app referenced by cluster does not exist", warning=True)
        return plan
    generation = int(meta.get("generation") or 0)
    if not status["generationUID"]:
        plan.note("Cluster", "new")
        status |= {"state": CREATING, "observedGeneration": generation}
    elif status["state"] in (CONFIGURED, UPDATING) and status["observedGeneration"] < generation:
        # The webhook says so too, but an API server with a status subresource drops its word.
        status["state"] = SPEC_MODIFIED
    else:
        status["observedGeneration"] = generation
        _work(Context(observed, plan, status))
    sum_up(status)
    _sync_backup(observed, plan, status)
    return plan


def _work(ctx: Context) -> None:
    ctx.roles = load_roles(ctx.observed, ctx.status)
    report.take_reports(ctx)
    container.check_containers(ctx)
    notify.settle(ctx)
    service.sync_headless(ctx)
    is_changed = role.sync_roles(ctx)
    _count_generation(ctx, is_changed)
    service.sync_members(ctx)
    if not is_changed and role.is_settled(ctx):
        _become_stable(ctx)
        return
    if ctx.status["state"] != CREATING:
        ctx.status["state"] = UPDATING
    member.sync_members(ctx)
    notify.settle(ctx)


def _count_generation(ctx: Context, is_changed: bool) -> None:
    """Count up the configuration generation when members or connections changed."""
    status, current = ctx.status, ctx.observed.connection_hash
    has_new_hash = current != status.get("lastConnectionHash")
    if has_new_hash:
        known = annotations_of(ctx.cluster)
        if ANNOTATION_HASH not in known:
            ctx.plan.note("Cluster", "Annotation initialized to 1")
        ctx.plan.annotations[ANNOTATION_HASH] = str(ctx.connection_version + 1)
        ctx.plan.note("Cluster", "Updated context")
        status["lastConnectionHash"] = current
    if has_new_hash or is_changed:
        status["specGenerationToProcess"] += 1


def _become_stable(ctx: Context) -> None:
    # Repair what somebody changed by hand, without leaving the state.
    for role_ in ctx.roles:
        role.sync_replicas(ctx, role_)
    if ctx.status["state"] == CONFIGURED:
        return
    ctx.plan.note("Cluster", "stable")
    name = ctx.cluster["metadata"]["name"]
    for other in ctx.observed.dependents:
        ctx.plan.note("Cluster", f"connected to cluster {{{other}}}; updating it")
        about = {
            "apiVersion": ctx.cluster["apiVersion"],
            "kind": ctx.cluster["kind"],
            "metadata": {"name": other, "namespace": ctx.cluster["metadata"]["namespace"]},
        }
        ctx.plan.notes.append(
            Note("Cluster", f"connected cluster {{{name}}} has changed", about=about)
        )
        ctx.plan.actions.append(Bump(other))
    ctx.status["state"] = CONFIGURED


def _sync_backup(observed: Observed, plan: Plan, status: Object) -> None:
    """Keep a copy of the status, if the platform wants one, and say so on the cluster."""
    wanted, cluster = observed.settings.backup_status, observed.cluster
    known = annotations_of(cluster).get(ANNOTATION_BACKUP)
    if wanted and known != "true":
        plan.annotations[ANNOTATION_BACKUP] = "true"
    elif not wanted and known == "true":
        plan.annotations[ANNOTATION_BACKUP] = "false"
    name = cluster["metadata"]["name"]
    if not wanted:
        if observed.backup is not None:
            failure = "failed to delete the backup of the status"
            plan.actions.append(Delete(KDSTATUSBACKUPS, name, failure))
        return
    failure = "failed to back the status up"
    if observed.backup is None:
        meta = {
            "name": name,
            "namespace": cluster["metadata"]["namespace"],
            "ownerReferences": [owner_reference(cluster)],
        }
        body = {"metadata": meta, "spec": {"statusBackup": status}}
        plan.actions.append(Create(KDSTATUSBACKUPS, body, failure))
    elif observed.backup["spec"].get("statusBackup") != status:
        patch = {
            "metadata": {"ownerReferences": [owner_reference(cluster)]},
            "spec": {"statusBackup": {"restoreProgress": None} | status},
        }
        plan.actions.append(Patch(KDSTATUSBACKUPS, name, patch, failure))


def _status_of(cluster: Object) -> Object:
    status: Object = copy.deepcopy(cluster.get("status") or {})
    for key, default in (
        ("state", ""),
        ("generationUID", ""),
        ("clusterService", ""),
        ("specGenerationToProcess", 0),
        ("observedGeneration", 0),
        ("lastNodeID", 0),
        ("lastConnectionHash", ""),
        ("roles", []),
    ):
        if status.get(key) is None:
            status[key] = copy.copy(default)
    for entry in status["roles"]:
        entry["members"] = entry.get("members") or []
    return status
