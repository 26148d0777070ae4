"""The volumes of a member: its own storage, secrets, shared claims, shared memory."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector.model import GlobalConfig, Object

CLAIM = "p"
_BLOCK = "b"
_PROJECTED = "projected-vol-"
_DEFAULT_BLOCK_SIZE = "1Gi"
_TEMPORARY = {"tmpfs-tmp": "/tmp", "tmpfs-run": "/run", "tmpfs-run-lock": "/run/lock"}
_TEMPORARY_SIZE = "20Gi"
_SHARED_MEMORY = "/dev/shm"
_CGROUPS = {"cgroupfs": "/sys/fs/cgroup", "systemd": "/sys/fs/cgroup/systemd"}

# Copies what the image has in the persisted directories onto the volume, once. POD_ROOT is the
# pod's own folder on the laptop and empty in a container.
_COPY = """root="${{POD_ROOT:-}}"
[ -f "$root/mnt/etc/kubedirector.init" ] && exit 0
cd "$root/" || exit 1
for dir in {dirs}; do
  mkdir -p "$root/mnt/$dir"
  if [ -d "$root/$dir" ]; then cp -a "$root/$dir/." "$root/mnt/$dir/" || exit 1; fi
done
mkdir -p "$root/mnt/etc" && : > "$root/mnt/etc/kubedirector.init"
"""


@dataclass(slots=True)
class Mounts:
    """Volumes of a pod and where its container sees them."""

    volumes: list[Object] = field(default_factory=list)
    mounts: list[Object] = field(default_factory=list)

    def add(self, name: str, path: str, source: Object, read_only: bool = False) -> None:
        """Mount a volume of its own at a path."""
        self.volumes.append({"name": name, **source})
        mount: Object = {"name": name, "mountPath": path}
        if read_only:
            mount["readOnly"] = True
        self.mounts.append(mount)


def make(app: Object, role: Object, settings: GlobalConfig) -> Mounts:
    """Return the volumes and mounts of a role's members."""
    found = Mounts()
    if role.get("storage"):
        for path in apps.persisted(app, role["id"]):
            found.mounts.append({"name": CLAIM, "mountPath": path, "subPath": path.lstrip("/")})
    if app["spec"].get("systemdRequired"):
        for name, path in _TEMPORARY.items():
            found.add(name, path, {"emptyDir": {"medium": "Memory", "sizeLimit": _TEMPORARY_SIZE}})
    secret = role.get("secret")
    if secret:
        source: Object = {"secretName": secret["name"]}
        if secret.get("defaultMode") is not None:
            source["defaultMode"] = secret["defaultMode"]
        found.add(
            f"secret-vol-{secret['name']}",
            secret["mountPath"],
            {"secret": source},
            bool(secret.get("readOnly")),
        )
    for index, projection in enumerate(role.get("volumeProjections") or []):
        read_only = bool(projection.get("readOnly"))
        claim = {"claimName": projection["pvcName"], "readOnly": read_only}
        found.add(
            f"{_PROJECTED}{index}",
            projection["mountPath"],
            {"persistentVolumeClaim": claim},
            read_only,
        )
    if role.get("sharedMemory"):
        memory = {"medium": "Memory", "sizeLimit": role["sharedMemory"]}
        found.add("shmem", _SHARED_MEMORY, {"emptyDir": memory})
    if app["spec"].get("systemdRequired") and not settings.native_systemd:
        for name, path in _CGROUPS.items():
            found.add(name, path, {"hostPath": {"path": path}}, name == "cgroupfs")
    return found


def system_paths(app: Object, role: Object, settings: GlobalConfig) -> set[str]:
    """Return the mount paths that a volume projection must not take."""
    taken = {
        mount["mountPath"]
        for mount in make(app, role, settings).mounts
        if not mount["name"].startswith(_PROJECTED)
    }
    return taken | set(_TEMPORARY.values())


def devices(role: Object) -> list[Object]:
    """Return the raw block devices of a member."""
    return [
        {"name": f"{_BLOCK}{index}", "devicePath": path}
        for index, path in enumerate(device_paths(role))
    ]


def device_paths(role: Object) -> list[str]:
    """Return where a member sees its block devices."""
    block = role.get("blockStorage")
    if not block:
        return []
    return [f"{block['pathPrefix']}{index}" for index in range(block["numDevices"])]


def claim_templates(role: Object, marks: dict[str, str]) -> list[Object]:
    """Return the templates of the claims each member gets."""
    templates = []
    storage, block = role.get("storage"), role.get("blockStorage")
    if storage:
        templates.append(
            _template(CLAIM, marks, storage["size"], storage.get("storageClassName"), "Filesystem")
        )
    if block:
        size = block.get("size") or _DEFAULT_BLOCK_SIZE
        for index in range(block["numDevices"]):
            name = f"{_BLOCK}{index}"
            templates.append(_template(name, marks, size, block.get("storageClassName"), "Block"))
    return templates


def init_container(app: Object, role: Object, image: str) -> Object:
    """Return the container that fills a new volume with what the image has in its place."""
    dirs = " ".join(shlex.quote(path.lstrip("/")) for path in apps.persisted(app, role["id"]))
    return {
        "name": "init",
        "image": image,
        "command": ["/bin/sh", "-c", _COPY.format(dirs=dirs)],
        "resources": role.get("resources") or {},
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": CLAIM, "mountPath": "/mnt"}],
    }


def _template(
    name: str, marks: dict[str, str], size: str, storage_class: str | None, mode: str
) -> Object:
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "volumeMode": mode,
    }
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"metadata": {"name": name, "labels": dict(marks)}, "spec": spec}
