"""Which container on which node a stream is for."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from labsandbox.apiserver.api import Api
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.pki import Authority
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import StatusError, bad_request, not_found

Json = dict[str, Any]
_ADDRESSES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
_DEFAULT_PORT = 10250
CLIENT = "apiserver-kubelet-client"


@dataclass(frozen=True)
class Node:
    """Where a node's agent listens."""

    host: str
    port: int


def find_pod(api: Api, request: Request, resource: ResourceDef) -> Json:
    pod = api.find("", "pods", request.name, request.namespace)
    if pod is None:
        raise not_found(resource, request.name)
    return pod


def _names(pod: Json) -> tuple[list[str], list[str]]:
    spec = pod.get("spec") or {}
    plain = [container["name"] for container in spec.get("containers") or ()]
    others = [
        container["name"]
        for field in ("initContainers", "ephemeralContainers")
        for container in spec.get(field) or ()
    ]
    return plain, others


_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def find_container(pod: Json, wanted: str) -> str:
    """The container a request means: the named one, or the only one."""
    name = pod["metadata"]["name"]
    plain, others = _names(pod)
    if wanted:
        if wanted not in plain and wanted not in others:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(plain) == 1:
        return plain[0]
    spec = pod.get("spec") or {}
    message = (
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(plain)}]"
    )
    init = [container["name"] for container in spec.get("initContainers") or ()]
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    raise bad_request(message)


def find_node(api: Api, resource: ResourceDef, pod: Json) -> Node | None:
    """The agent of the pod's node; None when the pod is on no node yet."""
    name = (pod.get("spec") or {}).get("nodeName")
    if not name:
        return None
    node = api.find("", "nodes", name)
    if node is None:
        raise not_found(resource, name)
    return node_address(node)


def node_address(node: Json) -> Node:
    """Host and port of a node's agent."""
    status = node.get("status") or {}
    found = {row.get("type"): row.get("address") for row in status.get("addresses") or ()}
    host = next((found[kind] for kind in _ADDRESSES if found.get(kind)), None)
    if host is None:
        raise StatusError(
            500,
            "InternalError",
            f'no preferred addresses found for node "{node["metadata"]["name"]}"; '
            "is the node agent running?",
        )
    endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return Node(str(host), int(endpoint.get("Port") or _DEFAULT_PORT))


def client_context(api: Api) -> ssl.SSLContext:
    """TLS towards node agents: they prove to be of this cluster, and so does the server."""
    known = api.cache.get("kubelet context")
    if known is None:
        folder = api.state / "pki"
        certificate, key = folder / f"{CLIENT}.crt", folder / f"{CLIENT}.key"
        if not certificate.exists():
            Authority(folder).sign(CLIENT, "kube-apiserver-kubelet-client", ["system:masters"])
        known = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        known.load_cert_chain(certificate, key)
        api.cache["kubelet context"] = known
    found: ssl.SSLContext = known
    return found
