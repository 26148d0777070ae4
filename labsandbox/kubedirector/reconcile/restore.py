"""Bringing a kdcluster back that was deleted and created again from a backup."""

from __future__ import annotations

import copy

from labsandbox.kubedirector.model import (
    ANNOTATION_BACKUP,
    LABEL_RESTORING,
    NO_SERVICE,
    Object,
    annotations_of,
)
from labsandbox.kubedirector.reconcile.plan import Observed, Plan

_NEVER_BACKED_UP = (
    "KD status backups were not enabled at the time this kdcluster was snapshotted; it is not "
    "possible to do automatic status recovery and resume reconciliation."
)


def restore(observed: Observed, plan: Plan, status: Object) -> Object:
    """Return the status of a kdcluster that waits for its parts to come back."""
    progress = status.get("restoreProgress")
    if not progress:
        plan.note("Cluster", "being restored: setting initial restore-progress flags")
        progress = {"awaitingApp": True, "awaitingStatus": True, "awaitingResources": True}
        progress["error"] = ""
    progress = dict(progress)
    if not any(progress[key] for key in ("awaitingApp", "awaitingStatus", "awaitingResources")):
        plan.labels[LABEL_RESTORING] = None
        plan.note("Cluster", "resuming reconciliation")
        return status
    _check_app(observed, plan, progress)
    status = _check_status(observed, plan, progress, status)
    if not progress["awaitingStatus"]:
        _check_resources(observed, plan, progress, status)
    return status | {"restoreProgress": progress}


def _check_app(observed: Observed, plan: Plan, progress: Object) -> None:
    spec = observed.cluster["spec"]
    what = f"kdapp {spec['app']} ({spec.get('appCatalog') or 'auto'} catalog)"
    if observed.app is None:
        progress["awaitingApp"] = True
        plan.note("Cluster", f"being restored: awaiting {what}")
    elif progress["awaitingApp"]:
        progress["awaitingApp"] = False
        plan.note("Cluster", f"being restored: {what} is present")


def _check_status(observed: Observed, plan: Plan, progress: Object, status: Object) -> Object:
    if not progress["awaitingStatus"]:
        return status
    if annotations_of(observed.cluster).get(ANNOTATION_BACKUP) == "false":
        plan.note("Cluster", "being restored: kdstatusbackup was not ever created", warning=True)
        progress["error"] = _NEVER_BACKED_UP
    if observed.backup is None:
        plan.note("Cluster", "being restored: awaiting kdstatusbackup")
        return status
    progress["awaitingStatus"] = False
    plan.note("Cluster", "being restored: kdstatusbackup is present")
    saved: Object = copy.deepcopy(observed.backup["spec"].get("statusBackup") or {})
    # The generation of the new object starts again at 1.
    saved["observedGeneration"] = 0
    return status | saved


def _check_resources(observed: Observed, plan: Plan, progress: Object, status: Object) -> None:
    missing = _missing(observed, status)
    for what in missing:
        plan.note("Cluster", f"being restored: {what} does not exist")
    if missing:
        progress["awaitingResources"] = True
        plan.note("Cluster", "being restored: awaiting component resources")
    elif progress["awaitingResources"]:
        progress["awaitingResources"] = False
        plan.note("Cluster", "being restored: component resources are present")


def _missing(observed: Observed, status: Object) -> list[str]:
    found = []
    service = status.get("clusterService")
    if service and service not in observed.services:
        found.append(f"cluster service {service}")
    for role in status.get("roles") or []:
        if role["statefulSet"] and role["statefulSet"] not in observed.stateful_sets:
            found.append(f"statefulset {role['statefulSet']}")
        for member in role.get("members") or []:
            name = member.get("service")
            if name and name != NO_SERVICE and name not in observed.services:
                found.append(f"member service {name}")
    if not observed.settings.restore_without_connections:
        found += [f"connected {what}" for what in observed.missing]
    return found
