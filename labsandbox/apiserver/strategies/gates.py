"""Fields of features that Kubernetes 1.32 ships switched off: dropped unless the object has them.

The managers of fields keep what the client sent, as on a real server: dropping comes later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
_POD = ("hostUsers", "resourceClaims", "resources")
_POD_SECURITY = ("supplementalGroupsPolicy", "seLinuxChangePolicy")
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "pods": ("spec",),
    "podtemplates": ("template", "spec"),
    "replicationcontrollers": ("spec", "template", "spec"),
    "deployments.apps": ("spec", "template", "spec"),
    "replicasets.apps": ("spec", "template", "spec"),
    "statefulsets.apps": ("spec", "template", "spec"),
    "daemonsets.apps": ("spec", "template", "spec"),
    "jobs.batch": ("spec", "template", "spec"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template", "spec"),
}


def drop_disabled(group_resource: str, new: Json, old: Json | None) -> None:
    """Drop from `new`, in place, what a server with default features would drop."""
    path = _TEMPLATES.get(group_resource)
    if path is not None:
        _drop_from_pod(_at(new, path), _at(old or {}, path))
    spec, before = new.get("spec") or {}, (old or {}).get("spec") or {}
    if group_resource == "statefulsets.apps":
        _drop(_at(spec, _ROLLING), _at(before, _ROLLING), ("maxUnavailable",))
    elif group_resource in ("persistentvolumeclaims", "persistentvolumes"):
        _drop(spec, before, ("volumeAttributesClassName",))
    elif group_resource == "nodes":
        _drop(spec, before, ("configSource",))


_ROLLING = ("updateStrategy", "rollingUpdate")


def _at(obj: Json, path: tuple[str, ...]) -> Json:
    for name in path:
        obj = obj.get(name) or {}
    return obj


def _drop(new: Json, old: Json, names: tuple[str, ...]) -> None:
    for name in names:
        if name in new and old.get(name) is None:
            del new[name]


def _drop_from_pod(spec: Json, before: Json) -> None:
    _drop(spec, before, _POD)
    if spec.get("securityContext"):
        _drop(spec["securityContext"], before.get("securityContext") or {}, _POD_SECURITY)
    had = list(_containers(before))
    resized = any(container.get("resizePolicy") for container in had)
    claimed = any((container.get("resources") or {}).get("claims") for container in had)
    for container in _containers(spec):
        if not resized:
            container.pop("resizePolicy", None)
        if not claimed and container.get("resources"):
            container["resources"].pop("claims", None)
    images = any(volume.get("image") for volume in before.get("volumes") or ())
    for volume in spec.get("volumes") or ():
        if not images:
            volume.pop("image", None)
        for source in (volume.get("projected") or {}).get("sources") or ():
            source.pop("clusterTrustBundle", None)


def _containers(spec: Json) -> Iterator[Json]:
    for kind in _CONTAINERS:
        yield from spec.get(kind) or ()
