"""Small plugins that complete pods, claims, nodes and ingresses."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import CREATE, UPDATE, Request
from labsandbox.quantity import QuantityError, parse

Json = dict[str, Any]
PODS = frozenset(("pods",))
TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
TOLERATION_SECONDS = 300
STORAGE_DEFAULT = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
INGRESS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
PROTECTION = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class DefaultTolerations(Quiet):
    """Pods stay five minutes on a node that went away."""

    keys = PODS

    async def mutate(self, request: Request) -> None:
        if request.operation not in (CREATE, UPDATE) or request.object is None:
            return
        spec = request.object.get("spec")
        if not isinstance(spec, dict):
            return
        known = spec.get("tolerations") or []
        missing = [key for key in TOLERATED if not any(_covers(one, key) for one in known)]
        if missing and (request.operation == CREATE or not request.old):
            spec["tolerations"] = [*known, *(_toleration(key) for key in missing)]


def _covers(one: Json, key: str) -> bool:
    return one.get("key", "") in ("", key) and one.get("effect", "") in ("", "NoExecute")


def _toleration(key: str) -> Json:
    return {
        "key": key,
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": TOLERATION_SECONDS,
    }


class DefaultStorageClass(Quiet):
    """Claims that name no class get the default one, the newest when there are several."""

    keys = frozenset(("persistentvolumeclaims",))

    def __init__(self, stock: Collections) -> None:
        self._stock = stock

    async def mutate(self, request: Request) -> None:
        if request.operation != CREATE or request.object is None:
            return
        spec = request.object.setdefault("spec", {})
        if not isinstance(spec, dict) or spec.get("storageClassName") is not None:
            return
        annotations = request.object.get("metadata", {}).get("annotations") or {}
        if "volume.beta.kubernetes.io/storage-class" in annotations:
            return
        found = _defaults(self._stock.list("storage.k8s.io", "storageclasses"), STORAGE_DEFAULT)
        if found:
            spec["storageClassName"] = found[0]["metadata"]["name"]


class DefaultIngressClass(Quiet):
    """Ingresses that name no class get the default one."""

    keys = frozenset(("ingresses.networking.k8s.io",))

    def __init__(self, stock: Collections) -> None:
        self._stock = stock

    async def mutate(self, request: Request) -> None:
        if request.operation != CREATE or request.object is None:
            return
        spec = request.object.setdefault("spec", {})
        annotations = request.object.get("metadata", {}).get("annotations") or {}
        if not isinstance(spec, dict) or spec.get("ingressClassName") is not None:
            return
        if "kubernetes.io/ingress.class" in annotations:
            return
        classes = self._stock.list("networking.k8s.io", "ingressclasses")
        found = _defaults(classes, (INGRESS_DEFAULT,))
        if found:
            spec["ingressClassName"] = found[0]["metadata"]["name"]


def _defaults(classes: list[Json], annotations: tuple[str, ...]) -> list[Json]:
    """The classes marked as default, newest first."""
    found = [
        one
        for one in classes
        if any((one["metadata"].get("annotations") or {}).get(key) == "true" for key in annotations)
    ]
    found.sort(key=lambda one: str(one["metadata"].get("name")))
    found.sort(key=lambda one: str(one["metadata"].get("creationTimestamp")), reverse=True)
    return found


class InUseProtection(Quiet):
    """Claims and volumes are kept while something uses them."""

    keys = frozenset(PROTECTION)

    async def mutate(self, request: Request) -> None:
        if request.operation != CREATE or request.object is None:
            return
        metadata = request.object.setdefault("metadata", {})
        finalizer = PROTECTION[request.resource.plural]
        known = metadata.get("finalizers") or []
        if finalizer not in known:
            metadata["finalizers"] = [*known, finalizer]


class ClaimResize(Quiet):
    """A claim grows only when its class says so."""

    keys = frozenset(("persistentvolumeclaims",))

    def __init__(self, stock: Collections) -> None:
        self._stock = stock

    async def validate(self, request: Request) -> None:
        if request.operation != UPDATE or request.object is None or request.old is None:
            return
        if _requested(request.object) <= _requested(request.old):
            return
        name = (request.object.get("spec") or {}).get("storageClassName") or ""
        found = self._stock.find("storage.k8s.io", "storageclasses", name) if name else None
        if (request.old.get("status") or {}).get("phase") != "Bound":
            raise request.refuse("Only bound persistent volume claims can be expanded")
        if found is None or not found.get("allowVolumeExpansion"):
            raise request.refuse(
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )


def _requested(claim: Json) -> int:
    resources = (claim.get("spec") or {}).get("resources") or {}
    try:
        return parse(str((resources.get("requests") or {}).get("storage", "0"))).nano
    except QuantityError:
        return 0


class RuntimeClass(Quiet):
    """A pod's runtime class must exist."""

    keys = PODS

    def __init__(self, stock: Collections) -> None:
        self._stock = stock

    async def mutate(self, request: Request) -> None:
        if request.operation != CREATE or request.object is None:
            return
        name = (request.object.get("spec") or {}).get("runtimeClassName")
        if name and self._stock.find("node.k8s.io", "runtimeclasses", name) is None:
            raise request.refuse(f'pod rejected: RuntimeClass "{name}" not found')


class NodeTaints(Quiet):
    """A new node takes no pods until it reports ready."""

    keys = frozenset(("nodes",))

    async def mutate(self, request: Request) -> None:
        if request.operation != CREATE or request.object is None:
            return
        spec = request.object.setdefault("spec", {})
        if not isinstance(spec, dict):
            return
        taints = spec.get("taints") or []
        if not any(
            one.get("key") == NOT_READY["key"] and one.get("effect") == NOT_READY["effect"]
            for one in taints
        ):
            spec["taints"] = [*taints, dict(NOT_READY)]
