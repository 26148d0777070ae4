"""Judge what a kdcluster asks for: resources, storage, memory and volumes of others."""

from __future__ import annotations

from collections import Counter

from labsandbox import quantity
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import volume
from labsandbox.kubedirector.admission.verdict import Verdict
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import Object, roles_of

_SHARED_MODES = {"ReadWriteMany", "ReadOnlyMany"}
_SHARED_MEMORY_SINCE = (1, 22)


def check_resources(cluster: Object, app: Object, verdict: Verdict) -> None:
    """Check the requests against the app's minimum."""
    for role in roles_of(cluster):
        minimum = (apps.role(app, role["id"]) or {}).get("minResources") or {}
        requests = (role.get("resources") or {}).get("requests") or {}
        for name, least in minimum.items():
            found = requests.get(name, "0")
            try:
                is_enough = quantity.amount(found) >= quantity.amount(least)
            except ValueError:
                is_enough = False
            if not is_enough:
                verdict.refuse(
                    f'Specified resource("{name}") value("{found}") for role("{role["id"]}") is '
                    f'invalid. Minimum value must be "{least}".'
                )


def check_minimum_storage(cluster: Object, app: Object, verdict: Verdict) -> None:
    """Check the storage against the app's minimum."""
    for role in roles_of(cluster):
        minimum = (apps.role(app, role["id"]) or {}).get("minStorage")
        if not minimum:
            continue
        storage = role.get("storage")
        if not storage and minimum.get("ephemeralModeSupported"):
            continue
        size = storage["size"] if storage else "0"
        try:
            is_enough = quantity.amount(size) >= quantity.amount(minimum["size"])
        except ValueError:
            continue  # check_storage_classes reports it
        if not is_enough:
            verdict.refuse(
                f'Specified persistent storage size("{size}") for role("{role["id"]}") is '
                f'invalid. Minimum size must be "{minimum["size"]}".'
            )


def check_storage_classes(cluster: Object, world: World, verdict: Verdict) -> None:
    """Check sizes and storage classes, and fill in the default class."""
    default, is_missing, uses_default = world.settings.storage_class, False, False
    for index, role in enumerate(roles_of(cluster)):
        storage = role.get("storage")
        if not storage:
            continue
        if not _check_size("Storage", role["id"], storage["size"], verdict):
            continue
        name = storage.get("storageClassName")
        if name:
            if name not in world.storage_classes:
                verdict.refuse(f"Unable to fetch storageClassName({name}) for role({role['id']}).")
            continue
        uses_default = uses_default or bool(default)
        chosen = default or world.default_storage_class
        if not chosen:
            is_missing = True
            continue
        storage["storageClassName"] = chosen
        verdict.patch("add", f"/spec/roles/{index}/storage/storageClassName", chosen)
    start = "storageClassName is not specified for one or more roles, and "
    if is_missing:
        verdict.refuse(start + "no default storage class is available.")
    elif uses_default and default not in world.storage_classes:
        verdict.refuse(start + f"default storage class ({default}) is not available on the system.")


def check_shared_memory(cluster: Object, world: World, verdict: Verdict) -> None:
    """Check the size of shared memory, and that the platform can limit it."""
    forced = world.settings.force_shared_memory
    for role in roles_of(cluster):
        size, name = role.get("sharedMemory"), role["id"]
        if size is None:
            continue
        if forced is None and world.kubernetes < _SHARED_MEMORY_SINCE:
            verdict.refuse(
                f"Specifying shared memory size for role ({name}) requires K8s version >= 1.22."
            )
        elif forced is False:
            verdict.refuse(
                f"Specifying shared memory size for role ({name}) not allowed; feature disabled "
                "by global KubeDirector config."
            )
        else:
            _check_size("Shared memory", name, size, verdict)


def check_projections(
    cluster: Object, app: Object, world: World, user: Object, verdict: Verdict
) -> None:
    """Check the claims a role mounts: they exist, can be shared, and lie in no one's way."""
    exclusive: Counter[str] = Counter()
    for role in roles_of(cluster):
        projections = role.get("volumeProjections") or []
        if not projections:
            continue
        system = volume.system_paths(app, role, world.settings)
        paths = Counter(projection["mountPath"] for projection in projections)
        for projection in projections:
            claim = _check_claim(cluster, role, projection["pvcName"], world, user, verdict)
            modes = set(((claim or {}).get("spec") or {}).get("accessModes") or [])
            if claim and not modes & _SHARED_MODES:
                exclusive[projection["pvcName"]] += role.get("members") or 0
        start = "Specified mountPath({}) for role({}) is invalid. "
        for path, times in paths.items():
            if times > 1:
                verdict.refuse(
                    start.format(path, role["id"]) + "It must be unique within the role."
                )
        for path in paths:
            if path in system:
                verdict.refuse(
                    start.format(path, role["id"]) + "It clashes with system generated mountPath."
                )
    for name, members in exclusive.items():
        if members > 1:
            verdict.refuse(
                f"Specified persistentvolumeclaim({name}) is invalid. AccessModes for this volume "
                "must contain either ReadWriteMany or ReadOnlyMany, since its consumed by more "
                "than 1 member of the cluster."
            )


def _check_claim(
    cluster: Object, role: Object, name: str, world: World, user: Object, verdict: Verdict
) -> Object | None:
    claim = world.claims.get(name)
    if claim is None:
        verdict.refuse(
            f"Unable to find persistentvolumeclaim({name}) in "
            f"namespace({cluster['metadata'].get('namespace', '')}) as specified for "
            f"role({role['id']})."
        )
        return None
    mode = claim.get("spec", {}).get("volumeMode") or "Filesystem"
    if mode != "Filesystem":
        verdict.refuse(
            f"Specified persistentvolumeclaim({name}) for role ({role['id']}) is invalid. "
            f"VolumeMode({mode}) for the underlying volume must be configured as Filesystem."
        )
    if ("persistentvolumeclaims", name) in world.denied:
        verdict.refuse(
            f"persistentvolumeclaim {name} requested by role {role['id']} is not accessible to "
            f'user "{user.get("username", "")}"'
        )
    return claim


def _check_size(subject: str, role: str, size: str, verdict: Verdict) -> bool:
    try:
        number = quantity.amount(size)
    except ValueError:
        verdict.refuse(f"{subject} size for role ({role}) is incorrectly defined.")
        return False
    if number <= 0:
        verdict.refuse(f"{subject} size for role ({role}) should be greater than zero.")
        return False
    return True
