"""Persistent volume claims: bound to folders of this machine, guarded while pods use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labsandbox import quantity
from labsandbox.client.resources import PVCS, PVS, STORAGECLASSES
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Create, Delete, Event, Patch, Replace, set_status

Object = dict[str, Any]

PROVISIONER = "labsandbox.local/folder"
CLASS = "project-repo"
REPOSITORY_CLAIM = "project-repo"
IN_USE, BOUND_GUARD = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
_IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_BOUND_BY = "pv.kubernetes.io/bound-by-controller"
_COMPLETED = "pv.kubernetes.io/bind-completed"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


# differs: there is a default storage class, and its volumes are folders of this machine: the size
# asked for is not enforced.
def default_class() -> Object:
    """Return the storage class whose claims become folders."""
    return {
        "metadata": {"name": CLASS, "annotations": {_IS_DEFAULT: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    }


def ensure_class(classes: list[Object]) -> list[Action]:
    """Return the creation of the storage class where it is missing."""
    if any(c["metadata"]["name"] == CLASS for c in classes):
        return []
    return [Create(STORAGECLASSES, default_class(), is_patient=True)]


def folder_of(claim: Object, state: Path) -> Path:
    """Return the folder a claim becomes.

    A claim named like the class is the tenant's whole project repository; any other one has a
    folder of its own.
    """
    meta = claim["metadata"]
    where = str(meta["namespace"])
    if meta["name"] == REPOSITORY_CLAIM:
        return state / "projects" / where
    return state / "volumes" / where / f"{meta['name']}-{meta['uid'][:8]}"


def reconcile(
    claim: Object,
    volumes: list[Object],
    classes: list[Object],
    pods: list[Object],
    state: Path,
) -> list[Action]:
    """Return the next step of a claim: bind it, provision for it, or let it go."""
    if objects.is_deleted(claim):
        return _let_go(claim, pods)
    spec = claim["spec"]
    if spec.get("volumeName"):
        volume = _named(volumes, spec["volumeName"])
        return _finish(claim, volume)
    name = spec.get("storageClassName")
    if name is None:
        name = next((_name(c) for c in classes if _is_default(c)), None)
        if name is None:
            return set_status(PVCS, claim, {"phase": "Pending"})
    found = _matching(claim, volumes, name)
    if found is None:
        if not any(_name(c) == name and c["provisioner"] == PROVISIONER for c in classes):
            text = "no persistent volumes available for this claim and no storage class is set"
            if name:
                text = f'storageclass.storage.k8s.io "{name}" not found'
            known = any(_name(c) == name for c in classes)
            reason = "FailedBinding" if not name else "ProvisioningFailed"
            event = [] if known else [Event(claim, "Warning", reason, text)]
            return [*event, *set_status(PVCS, claim, {"phase": "Pending"})]
        return [_provision(claim, name, state)]
    return _bind(claim, found, name)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _is_default(obj: Object) -> bool:
    return (obj["metadata"].get("annotations") or {}).get(_IS_DEFAULT) == "true"


def _named(volumes: list[Object], name: str) -> Object | None:
    return next((volume for volume in volumes if _name(volume) == name), None)


def _matching(claim: Object, volumes: list[Object], name: str) -> Object | None:
    meta = claim["metadata"]
    for volume in volumes:
        reference = volume["spec"].get("claimRef")
        if reference and (
            reference.get("uid") in (None, "", meta["uid"])
            and (reference["namespace"], reference["name"]) == (meta["namespace"], meta["name"])
        ):
            return volume
    for volume in objects.by_name(volumes):
        spec = volume["spec"]
        is_free = not spec.get("claimRef") and not objects.is_deleted(volume)
        if is_free and (spec.get("storageClassName") or "") == name and _suits(claim, volume):
            return volume
    return None


def _suits(claim: Object, volume: Object) -> bool:
    modes = set(claim["spec"].get("accessModes") or [])
    wanted = quantity.amount(claim["spec"]["resources"]["requests"]["storage"])
    has = quantity.amount(volume["spec"]["capacity"]["storage"])
    selector = claim["spec"].get("selector")
    is_chosen = selector is None or objects.matches(selector, volume["metadata"].get("labels"))
    return modes <= set(volume["spec"].get("accessModes") or []) and has >= wanted and is_chosen


def _provision(claim: Object, name: str, state: Path) -> Action:
    meta, spec = claim["metadata"], claim["spec"]
    volume = {
        "metadata": {
            "name": f"pvc-{meta['uid']}",
            "annotations": {_PROVISIONED_BY: PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain"
            if meta["name"] == REPOSITORY_CLAIM
            else "Delete",
            "storageClassName": name,
            "volumeMode": spec.get("volumeMode") or "Filesystem",
            "hostPath": {"path": str(folder_of(claim, state)), "type": "DirectoryOrCreate"},
            "claimRef": _reference(claim),
        },
    }
    text = f"Successfully provisioned volume pvc-{meta['uid']}"
    event = Event(claim, "Normal", "ProvisioningSucceeded", text)
    return Create(PVS, volume, on_success=(event,), is_patient=True)


def _reference(claim: Object) -> Object:
    meta = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }


def _bind(claim: Object, volume: Object, name: str) -> list[Action]:
    actions: list[Action] = []
    reference = volume["spec"].get("claimRef") or {}
    if reference.get("uid") != claim["metadata"]["uid"]:
        changed = {**volume["spec"], "claimRef": _reference(claim)}
        actions.append(Replace(PVS, {**volume, "spec": changed}))
    meta = claim["metadata"]
    patch: Object = {
        "metadata": {"annotations": {_COMPLETED: "yes", _BOUND_BY: "yes"}},
        "spec": {"volumeName": _name(volume)},
    }
    if not claim["spec"].get("storageClassName"):
        patch["spec"]["storageClassName"] = name
    return [*actions, Patch(PVCS, meta["name"], meta["namespace"], patch)]


def _finish(claim: Object, volume: Object | None) -> list[Action]:
    before = claim.get("status") or {}
    if volume is None:
        phase = "Lost" if before.get("phase") == "Bound" else "Pending"
        return set_status(PVCS, claim, {**before, "phase": phase})
    reference = volume["spec"].get("claimRef") or {}
    if reference.get("uid") not in (None, "", claim["metadata"]["uid"]):
        return set_status(PVCS, claim, {**before, "phase": "Pending"})
    if not reference.get("uid"):
        changed = {**volume["spec"], "claimRef": _reference(claim)}
        return [Replace(PVS, {**volume, "spec": changed})]
    status = {
        **before,
        "phase": "Bound",
        "accessModes": volume["spec"]["accessModes"],
        "capacity": {"storage": volume["spec"]["capacity"]["storage"]},
    }
    return set_status(PVCS, claim, status)


def _let_go(claim: Object, pods: list[Object]) -> list[Action]:
    """Return the removal of the guard once no pod uses the claim."""
    meta = claim["metadata"]
    if IN_USE not in (meta.get("finalizers") or []):
        return []
    for pod in pods:
        if objects.phase(pod) in ("Succeeded", "Failed"):
            continue
        for volume in pod["spec"].get("volumes") or []:
            source = volume.get("persistentVolumeClaim") or {}
            if source.get("claimName") == meta["name"]:
                return []
    kept = [name for name in meta["finalizers"] if name != IN_USE]
    patch = {"metadata": {"uid": meta["uid"], "finalizers": kept or None}}
    return [Patch(PVCS, meta["name"], meta["namespace"], patch)]


def reconcile_volume(volume: Object, claim: Object | None) -> list[Action]:
    """Return the next step of a volume: its phase, and what becomes of it without its claim."""
    meta, spec = volume["metadata"], volume["spec"]
    reference = spec.get("claimRef")
    is_bound = (
        bool(reference) and claim is not None and (claim["metadata"]["uid"] == reference.get("uid"))
    )
    if objects.is_deleted(volume):
        if is_bound or BOUND_GUARD not in (meta.get("finalizers") or []):
            return []
        kept = [name for name in meta["finalizers"] if name != BOUND_GUARD]
        patch = {"metadata": {"uid": meta["uid"], "finalizers": kept or None}}
        return [Patch(PVS, meta["name"], None, patch)]
    phase = "Available" if not reference else "Bound" if is_bound else "Released"
    if phase == "Released" and not reference.get("uid"):
        phase = "Available"
    if phase == "Released" and spec.get("persistentVolumeReclaimPolicy") == "Delete":
        return [Delete(PVS, meta["name"], None, meta["uid"])]
    before = volume.get("status") or {}
    return set_status(PVS, volume, {**before, "phase": phase})


def doomed_folder(volume: Object, state: Path) -> Path | None:
    """Return the folder to remove with a volume that is gone; only ever one made here."""
    spec = volume["spec"]
    notes = volume["metadata"].get("annotations") or {}
    path = Path((spec.get("hostPath") or {}).get("path") or "/")
    is_ours = notes.get(_PROVISIONED_BY) == PROVISIONER
    is_inside = ".." not in path.parts and path.is_relative_to(state / "volumes")
    if is_ours and is_inside and spec.get("persistentVolumeReclaimPolicy") == "Delete":
        return path
    return None
