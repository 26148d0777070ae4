"""Live copies of collections that controllers share, with the indexes they ask for.

Two things more than a plain informer: what a controller has just written is in the cache at once,
so the next decision does not repeat it; and an older version from the watch does not undo that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from labsandbox import whole
from labsandbox.client import Client, Informer, Resource, key_of

Object = dict[str, Any]

_REMEMBERED = 1000
_BULKY = ("managedFields",)
# What no controller asks of a pod. They never write a whole pod back, so it is not missed.
_POD_BULK = {"tolerations", "securityContext", "imagePullSecrets", "dnsPolicy", "schedulerName"}
_CONTAINER_KEPT = {"name", "ports", "resources", "restartPolicy"}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Cache(Informer):
    """One collection."""

    def __init__(self, client: Client, resource: Resource, is_partial: bool = False) -> None:
        super().__init__(client, resource)
        self.is_partial = is_partial
        self.by_uid: dict[str, Object] = {}
        self.by_owner: dict[str, dict[str, Object]] = defaultdict(dict)
        self.by_namespace: dict[str | None, dict[str, Object]] = defaultdict(dict)
        self._gone: dict[str, None] = {}

    def note(self, obj: Object) -> None:
        """Take the answer to a write of our own, unless the object has gone in the meantime."""
        if _is_known(obj, self._gone):
            gone = obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get(
                "finalizers"
            )
            if gone and not obj["metadata"].get("deletionGracePeriodSeconds"):
                return  # The watch will say DELETED; until then it is there.
            self._take("MODIFIED", obj)

    def _take(self, kind: str, obj: Object) -> None:
        obj = self._trim(obj)
        key = key_of(obj)
        old = self.objects.get(key)
        if old is not None:
            is_same = old["metadata"]["uid"] == obj["metadata"]["uid"]
            if kind != "DELETED" and is_same and _version(obj) <= _version(old):
                return
            if kind == "DELETED" and not is_same:
                return
            if kind == "DELETED":
                self._bury(obj["metadata"]["uid"])
            self._unindex(old)
        elif kind == "DELETED":
            self._bury(obj["metadata"]["uid"])
            return
        if kind != "DELETED":
            self._index(obj)
        super()._take(kind, obj)

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _REMEMBERED:
            self._gone.pop(next(iter(self._gone)))

    def _trim(self, obj: Object) -> Object:
        meta = {key: value for key, value in obj["metadata"].items() if key not in _BULKY}
        if self.is_partial:
            notes = {k: v for k, v in (meta.get("annotations") or {}).items() if k != _LAST_APPLIED}
            meta["annotations"] = notes
        rest = {} if self.is_partial else obj
        if self.resource.plural == "pods":
            rest = _slim_pod(obj)
        head = {"apiVersion": self.resource.api_version, "kind": self.resource.kind}
        return {**rest, **head, "metadata": meta}

    def _index(self, obj: Object) -> None:
        meta = obj["metadata"]
        self.by_uid[meta["uid"]] = obj
        self.by_namespace[meta.get("namespace")][meta["name"]] = obj
        for reference in meta.get("ownerReferences") or []:
            self.by_owner[reference["uid"]][meta["uid"]] = obj

    def _unindex(self, obj: Object) -> None:
        meta = obj["metadata"]
        self.by_uid.pop(meta["uid"], None)
        siblings = self.by_namespace[meta.get("namespace")]
        siblings.pop(meta["name"], None)
        if not siblings:
            self.by_namespace.pop(meta.get("namespace"), None)
        for reference in meta.get("ownerReferences") or []:
            owned = self.by_owner[reference["uid"]]
            owned.pop(meta["uid"], None)
            if not owned:
                self.by_owner.pop(reference["uid"], None)

    def owned(self, uid: str) -> list[Object]:
        """Return the objects that refer to an owner."""
        return list(self.by_owner[uid].values()) if uid in self.by_owner else []

    def of(self, namespace: str | None) -> list[Object]:
        """Return the objects of a namespace."""
        return list(self.by_namespace[namespace].values()) if namespace in self.by_namespace else []

    def everything(self) -> Iterator[Object]:
        """Return all objects."""
        return iter(list(self.objects.values()))


def _version(obj: Object) -> int:
    text = obj["metadata"].get("resourceVersion") or "0"
    return whole.read(text)


def _slim_pod(pod: Object) -> Object:
    spec = {key: value for key, value in pod["spec"].items() if key not in _POD_BULK}
    for word in ("containers", "initContainers"):
        if word in spec:
            spec[word] = [
                {key: value for key, value in container.items() if key in _CONTAINER_KEPT}
                for container in spec[word]
            ]
    spec["volumes"] = [v for v in spec.get("volumes") or [] if "persistentVolumeClaim" in v]
    return {**pod, "spec": spec}


def _is_known(obj: Object, gone: dict[str, None]) -> bool:
    uid = (obj.get("metadata") or {}).get("uid")
    return bool(uid) and uid not in gone
