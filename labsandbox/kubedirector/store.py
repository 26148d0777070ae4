"""The operator's picture of the platform: informers, and its own writes before they come back.

An informer lags behind: for some milliseconds after a write it still shows the old object. A pass
that ran then would do the same again. So answers to writes are put in at once, and what arrives
later is taken only when it is newer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

from labsandbox import whole
from labsandbox.client import Client, Informer, Resource
from labsandbox.client.resources import (
    CONFIGMAPS,
    KDAPPS,
    KDCLUSTERS,
    KDCONFIGS,
    KDSTATUSBACKUPS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
)
from labsandbox.kubedirector.model import LABEL_CLUSTER, Object, labels_of

WHOLE = (KDCLUSTERS, KDAPPS, KDCONFIGS, KDSTATUSBACKUPS, CONFIGMAPS, SECRETS)
OF_CLUSTERS = (PODS, SERVICES, STATEFULSETS)
_MOST_TOMBSTONES = 5000

Listener = Callable[[Resource, str, Object | None, Object], None]
Key = tuple[Resource, str, str]


class Store:
    """Objects by resource, namespace and name; newest version known."""

    def __init__(self, client: Client) -> None:
        self.listeners: list[Listener] = []
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = {}
        self._members: dict[tuple[Resource, str, str], dict[str, Object]] = {}
        self._tombstones: OrderedDict[Key, int] = OrderedDict()
        self._informers = [Informer(client, resource) for resource in WHOLE]
        self._informers += [
            Informer(client, resource, labels=LABEL_CLUSTER) for resource in OF_CLUSTERS
        ]

    async def start(self) -> None:
        """Begin to follow all collections; return when everything is known."""
        for informer in self._informers:
            informer.listeners.append(self._listen(informer.resource))
            await informer.start(wait=False)
        for informer in self._informers:
            await informer.synced.wait()

    async def stop(self) -> None:
        """Stop following."""
        for informer in self._informers:
            await informer.stop()

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Return an object, or None."""
        return self._objects.get(resource, {}).get((namespace, name))

    def all(self, resource: Resource, namespace: str | None = None) -> Iterator[Object]:
        """Yield the objects of a collection."""
        for (place, _), obj in list(self._objects.get(resource, {}).items()):
            if namespace in (None, place):
                yield obj

    def of_cluster(self, resource: Resource, namespace: str, cluster: str) -> Mapping[str, Object]:
        """Return the pods, services or StatefulSets of a kdcluster, by name."""
        return self._members.get((resource, namespace, cluster), {})

    def put(self, resource: Resource, obj: Object) -> bool:
        """Take in an object unless a newer version of it, or its end, is known."""
        namespace, name = obj["metadata"].get("namespace") or "", obj["metadata"]["name"]
        version = _version(obj)
        known = self.get(resource, namespace, name)
        if known is not None and version < _version(known):
            return False
        if version <= self._tombstones.get((resource, namespace, name), -1):
            return False
        self._objects.setdefault(resource, {})[namespace, name] = obj
        cluster = labels_of(obj).get(LABEL_CLUSTER)
        if resource in OF_CLUSTERS and cluster:
            self._members.setdefault((resource, namespace, cluster), {})[name] = obj
        return True

    def drop(self, resource: Resource, obj: Object) -> bool:
        """Forget an object that was deleted, unless it was made again since."""
        namespace, name = obj["metadata"].get("namespace") or "", obj["metadata"]["name"]
        version = _version(obj)
        known = self.get(resource, namespace, name)
        is_other = known is not None and known["metadata"].get("uid") != obj["metadata"].get("uid")
        if is_other and known is not None and _version(known) > version:
            return False
        self._tombstones[resource, namespace, name] = version
        while len(self._tombstones) > _MOST_TOMBSTONES:
            self._tombstones.popitem(last=False)
        self._objects.get(resource, {}).pop((namespace, name), None)
        cluster = labels_of(known or obj).get(LABEL_CLUSTER, "")
        siblings = self._members.get((resource, namespace, cluster))
        if siblings is not None:
            siblings.pop(name, None)
            if not siblings:
                del self._members[resource, namespace, cluster]
        return True

    def _listen(self, resource: Resource) -> Callable[[str, Object | None, Object], None]:
        def listen(kind: str, old: Object | None, obj: Object) -> None:
            obj.setdefault("apiVersion", resource.api_version)
            obj.setdefault("kind", resource.kind)
            if kind == "DELETED":
                self.drop(resource, obj)
            else:
                self.put(resource, obj)
            for listener in self.listeners:
                listener(resource, kind, old, obj)

        return listen


def _version(obj: Object) -> int:
    """Return the resourceVersion as a number; without numbers the latest to arrive wins."""
    text = obj["metadata"].get("resourceVersion") or "0"
    return whole.read(text)
