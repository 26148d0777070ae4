"""Judge the KubeDirectorConfig, and fill in its defaults; and the claims of members."""

from __future__ import annotations

from labsandbox.kubedirector import secretkey
from labsandbox.kubedirector.admission.guard import Codes, check_status
from labsandbox.kubedirector.admission.marks import check_marks
from labsandbox.kubedirector.admission.verdict import Request, Verdict
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import owner_reference

_DEFAULTS = {
    "defaultServiceType": "LoadBalancer",
    "nativeSystemdSupport": False,
    "clusterSvcDomainBase": ".svc.cluster.local",
    "defaultNamingScheme": "UID",
    "backupClusterStatus": False,
    "allowRestoreWithoutConnections": False,
}


def judge_config(request: Request, world: World, codes: Codes) -> Verdict:
    """Return the verdict on kd-global-config being created, changed or deleted."""
    verdict = Verdict()
    if request.operation == "DELETE":
        if world.any_clusters:
            verdict.refuse("kd-global-config cannot be deleted while kdclusters exist")
        return verdict
    if request.namespace != world.system_namespace:
        return verdict.refuse(
            f"Invalid namespace '{request.namespace}', must be '{world.system_namespace}'."
        )
    violation = check_status(request, codes)
    if violation:
        return verdict.refuse(violation)
    spec = request.obj.get("spec")
    if spec is None:
        spec = {}
        verdict.patch("add", "/spec", {})
    storage_class = spec.get("defaultStorageClassName")
    if storage_class and storage_class not in world.storage_classes:
        verdict.refuse(
            f"Unable to fetch storageClass object with the provided name({storage_class})."
        )
    for name, value in _DEFAULTS.items():
        if spec.get(name) is None:
            verdict.patch("add", f"/spec/{name}", value)
    _check_key(request, world, verdict)
    check_marks("spec", spec, verdict)
    return verdict


def judge_claim(request: Request, world: World) -> Verdict:
    """Make the kdcluster a member belongs to the owner of the member's claims."""
    verdict = Verdict()
    if world.owner:
        reference = owner_reference(world.owner)
        verdict.patch("add", "/metadata/ownerReferences", [reference])
    return verdict


def _check_key(request: Request, world: World, verdict: Verdict) -> None:
    key = (request.obj.get("spec") or {}).get("masterEncryptionKey")
    before = (request.old.get("spec") or {}).get("masterEncryptionKey")
    if before and world.any_clusters and key != before:
        verdict.refuse("masterEncryptionKey value cannot be changed while kdclusters exist")
    elif key is None:
        verdict.patch("add", "/spec/masterEncryptionKey", secretkey.generate())
    else:
        problem = secretkey.check(key)
        if problem:
            verdict.refuse(f"masterEncryptionKey is invalid. error: {problem}.")
