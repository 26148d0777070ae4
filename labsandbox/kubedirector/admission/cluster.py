"""Judge a KubeDirectorCluster: who may change what when, and whether it can be built.

The order of the checks and the gist of the messages are the published ones.
"""

from __future__ import annotations

from labsandbox.kubedirector.admission import resource, role
from labsandbox.kubedirector.admission.change import check_changes
from labsandbox.kubedirector.admission.guard import Codes, check_status
from labsandbox.kubedirector.admission.verdict import Request, Verdict, is_same
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import (
    ANNOTATION_BACKUP,
    LABEL_ALLOW_DELETE,
    LABEL_RESTORING,
    SPEC_MODIFIED,
    Object,
    annotations_of,
    labels_of,
)

_TOO_EARLY = "Change to spec not allowed before previous spec change has been processed."
_PENDING = (
    "Change to spec not allowed because some members have not processed notifications of previous "
    "change."
)


def judge_early(request: Request, codes: Codes) -> Verdict | None:
    """Return the verdict when it does not depend on the rest of the platform, else None."""
    verdict = Verdict()
    was_restoring = bool(request.old) and LABEL_RESTORING in labels_of(request.old)
    if request.operation == "DELETE":
        if was_restoring and LABEL_ALLOW_DELETE not in labels_of(request.old):
            verdict.refuse(
                f"delete not allowed while {LABEL_RESTORING} label exists, unless "
                f"{LABEL_ALLOW_DELETE} label also exists"
            )
        return verdict
    cluster = request.obj
    if request.operation == "CREATE" and ANNOTATION_BACKUP in annotations_of(cluster):
        _mark_restoring(cluster, verdict)
        return verdict
    is_spec_same = request.operation == "UPDATE" and is_same(cluster["spec"], request.old["spec"])
    if request.operation == "UPDATE" and was_restoring and not is_spec_same:
        return verdict.refuse(f"spec changes not allowed while {LABEL_RESTORING} label exists")
    violation = check_status(request, codes)
    if violation:
        return verdict.refuse(violation)
    # Labels and annotations are always free, except that the end of a restore is looked at in full.
    ends_restore = was_restoring and LABEL_RESTORING not in labels_of(cluster)
    return verdict if is_spec_same and not ends_restore else None


def judge_cluster(request: Request, world: World) -> Verdict:
    """Return the verdict on a kdcluster whose spec is new; fills defaults into the request."""
    verdict = Verdict()
    cluster, app = request.obj, world.app
    if app is None:
        name = cluster["spec"]["app"]
        return verdict.refuse(f"Invalid app({name}). This app resource ID has not been registered.")
    _fill_catalog(cluster, app, verdict)
    if request.operation == "UPDATE":
        _check_timing(request, verdict)
    role.check_cardinality(cluster, app, verdict)
    role.check_roles(cluster, app, verdict)
    resource.check_resources(cluster, app, verdict)
    resource.check_minimum_storage(cluster, app, verdict)
    role.check_service_accounts(cluster, world, request.user, verdict)
    resource.check_storage_classes(cluster, world, verdict)
    resource.check_shared_memory(cluster, world, verdict)
    _fill(cluster, "serviceType", world.settings.service_type, verdict)
    _fill(cluster, "namingScheme", world.settings.naming_scheme, verdict)
    role.check_file_injections(cluster, world, verdict)
    role.check_secrets(cluster, world, verdict)
    role.check_secret_keys(cluster, request.old, world, verdict)
    resource.check_projections(cluster, app, world, request.user, verdict)
    if request.operation == "UPDATE":
        changes = check_changes(cluster, request.old)
        if changes:
            # Nothing else matters while what may never change is being changed.
            verdict.errors = changes
    return verdict


def _check_timing(request: Request, verdict: Verdict) -> None:
    old = request.old
    # differs: the API server keeps the stored status whatever a client sends with the spec, so
    # the stored one is looked at; the original refuses a replace without status.
    status = old.get("status")
    if status is None:
        verdict.refuse(_TOO_EARLY)
        return
    members = [m for r in status.get("roles") or [] for m in r.get("members") or []]
    if any((m.get("stateDetail") or {}).get("pendingNotifyCmds") for m in members):
        verdict.refuse(_PENDING)
        return
    seen, current = status.get("observedGeneration"), old["metadata"].get("generation")
    is_behind = seen is not None and current is not None and seen < current
    if status.get("state") == SPEC_MODIFIED or is_behind:
        verdict.refuse(_TOO_EARLY)
        return
    if request.obj.get("status"):
        verdict.patch("replace", "/status/state", SPEC_MODIFIED)


def _fill_catalog(cluster: Object, app: Object, verdict: Verdict) -> None:
    is_local = app["metadata"].get("namespace") == cluster["metadata"].get("namespace")
    _fill(cluster, "appCatalog", "local" if is_local else "system", verdict)


def _fill(cluster: Object, name: str, value: str, verdict: Verdict) -> None:
    if cluster["spec"].get(name) is None:
        cluster["spec"][name] = value
        verdict.patch("add", f"/spec/{name}", value)


def _mark_restoring(cluster: Object, verdict: Verdict) -> None:
    if LABEL_RESTORING in labels_of(cluster):
        return
    if labels_of(cluster):
        path = "/metadata/labels/" + LABEL_RESTORING.replace("/", "~1")
        verdict.patch("add", path, "")
    else:
        verdict.patch("add", "/metadata/labels", {LABEL_RESTORING: ""})
