"""What exists before the first client: namespaces, default roles, priority classes, a Service."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from labsandbox.apiserver import flowcontrol
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.pki import SERVICE_ADDRESS
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.registry.catalog import builtin
from labsandbox.apiserver.store import Record, Stale
from labsandbox.apiserver.strategies.cluster import NAME_LABEL
from labsandbox.apiserver.verbs.manage import track
from labsandbox.apiserver.verbs.objects import now

Json = dict[str, Any]
NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
_MANAGER = "kube-apiserver"
_FLOW_MANAGER = "api-priority-and-fairness-config-producer-v1"
_RBAC = "rbac.authorization.k8s.io"


def _metadata(name: str, **more: Any) -> Json:
    return {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": now(), **more}


def _namespace(name: str) -> Json:
    return {
        "metadata": _metadata(name, labels={NAME_LABEL: name}),
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _service(port: int) -> Json:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {
        "metadata": _metadata("kubernetes", namespace="default", labels=labels),
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "clusterIP": SERVICE_ADDRESS,
            "clusterIPs": [SERVICE_ADDRESS],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }


_PRIORITIES = (
    ("system-cluster-critical", 2000000000, "Used for system critical pods that must run in the "
     "cluster, but can be moved to another node if necessary."),
    ("system-node-critical", 2000001000, "Used for system critical pods that must not be moved "
     "from their current node."),
)  # fmt: skip


def _priority(name: str, value: int, description: str) -> Json:
    return {
        "metadata": _metadata(name, generation=1),
        "value": value,
        "description": description,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _system_config_maps(api: Api) -> list[Json]:
    """What extension servers read to know the cluster, and since when tokens are tracked."""
    authority = (api.state / "pki" / "ca.crt").read_text()
    return [
        {
            "metadata": _metadata("extension-apiserver-authentication", namespace="kube-system"),
            "data": {"client-ca-file": authority},
        },
        {
            "metadata": _metadata(
                "kube-apiserver-legacy-service-account-token-tracking", namespace="kube-system"
            ),
            "data": {"since": now()[:10]},
        },
    ]


def _tracked(resource: ResourceDef, obj: Json) -> Json:
    """Own what a client would have written; the rest is what the server decides."""
    decided: Json = {key: obj[key] for key in ("spec", "status") if key in obj}
    if resource.group == flowcontrol.GROUP:
        decided.pop("spec")
        written = {key: value for key, value in obj.items() if key not in decided}
        return {**track(resource, None, written, _FLOW_MANAGER), **decided}
    if "aggregationRule" in obj:
        decided = {"rules": obj["rules"]}
    elif resource.plural != "namespaces":
        return track(resource, None, obj, _MANAGER)
    written = {key: value for key, value in obj.items() if key not in decided}
    return {**track(resource, None, written, _MANAGER), **decided}


_PRIORITY = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400,
    "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
    "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
}  # fmt: skip
_VERSION_PRIORITY = {("", "v1"): 1, ("autoscaling", "v2"): 30,
                     ("flowcontrol.apiserver.k8s.io", "v1"): 21}  # fmt: skip


def _api_services(api: Api) -> list[Json]:
    """One object for each group and version the server itself serves."""
    found = dict.fromkeys((row.group, row.version) for row in builtin())
    return [
        {
            "metadata": _metadata(
                f"{version}.{group}",
                labels={"kube-aggregator.kubernetes.io/automanaged": "onstart"},
            ),
            "spec": {
                **({"group": group} if group else {}),
                "version": version,
                "groupPriorityMinimum": _PRIORITY[group],
                "versionPriority": _VERSION_PRIORITY.get((group, version), 15),
            },
            "status": {
                "conditions": [
                    {
                        "type": "Available",
                        "status": "True",
                        "lastTransitionTime": now(),
                        "reason": "Local",
                        "message": "Local APIServices are always available",
                    }
                ]
            },
        }
        for group, version in found
        if group in _PRIORITY
    ]


async def create_defaults(api: Api, port: int) -> None:
    """Create what is missing; existing objects are left as they are."""
    wanted: list[tuple[str, str, str, Json]] = []
    for name in NAMESPACES:
        wanted.append(("", "namespaces", "", _namespace(name)))
    from labsandbox.apiserver.auth.policy import default_objects, local_objects

    for plural, obj in default_objects():
        wanted.append((_RBAC, plural, "", obj))
    for plural, namespace, obj in local_objects():
        wanted.append((_RBAC, plural, namespace, obj))
    for plural, obj in flowcontrol.default_objects(now()):
        wanted.append((flowcontrol.GROUP, plural, "", obj))
    for name, value, text in _PRIORITIES:
        wanted.append(("scheduling.k8s.io", "priorityclasses", "", _priority(name, value, text)))
    wanted.append(("", "services", "default", _service(port)))
    for obj in _api_services(api):
        wanted.append(("apiregistration.k8s.io", "apiservices", "", obj))
    for obj in _system_config_maps(api):
        wanted.append(("", "configmaps", "kube-system", obj))
    writes: list[asyncio.Future[Record]] = []
    for group, plural, namespace, obj in wanted:
        resource = api.resource(group, plural)
        name = obj["metadata"]["name"]
        if api.store.latest(resource.bucket, namespace, name) is not None:
            continue
        whole = {"kind": resource.kind, "apiVersion": resource.api_version, **obj}
        whole["metadata"].setdefault("uid", str(uuid.uuid4()))
        whole["metadata"].setdefault("creationTimestamp", now())
        tracked = _tracked(resource, whole)
        try:
            writes.append(api.store.submit(resource.bucket, namespace, name, tracked, None))
        except Stale:
            continue
    if writes:
        await asyncio.gather(*writes)
