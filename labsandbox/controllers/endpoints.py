"""Service -> Endpoints and EndpointSlices: which pods answer for a service."""

from __future__ import annotations

from typing import Any

from labsandbox import whole
from labsandbox.client.resources import ENDPOINTS, ENDPOINTSLICES
from labsandbox.controllers import objects
from labsandbox.controllers.actions import Action, Create, Delete, Replace

Object = dict[str, Any]

CHANGED = "endpoints.kubernetes.io/last-change-trigger-time"
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_MANAGER = "endpointslice-controller.k8s.io"
_HEADLESS = "service.kubernetes.io/headless"
_COPIED_OUT = (SERVICE_NAME, MANAGED_BY, _HEADLESS)


def reconcile(
    service: Object, pods: list[Object], endpoints: Object | None, slices: list[Object], now: float
) -> list[Action]:
    """Return what makes a service's endpoints those of the pods it selects."""
    selector = service["spec"].get("selector")
    if not selector or objects.is_deleted(service) or service["spec"].get("type") == "ExternalName":
        return []
    chosen = [
        pod
        for pod in pods
        if all((pod["metadata"].get("labels") or {}).get(k) == v for k, v in selector.items())
        and (pod.get("status") or {}).get("podIP")
        and objects.phase(pod) not in ("Succeeded", "Failed")
    ]
    chosen.sort(key=lambda pod: str(pod["status"]["podIP"]))  # As text: the original does.
    own = [s for s in slices if s["metadata"].get("labels", {}).get(MANAGED_BY) == _MANAGER]
    return [*_endpoints(service, chosen, endpoints, now), *_slices(service, chosen, own, now)]


def leftover(current: Object | None) -> list[Action]:
    """Return the deletion of the Endpoints of a service that is gone, if a controller made them."""
    if current is None or CHANGED not in (current["metadata"].get("annotations") or {}):
        return []
    meta = current["metadata"]
    return [Delete(ENDPOINTS, meta["name"], meta["namespace"], meta["uid"])]


def _serves(service: Object, pod: Object) -> bool:
    return objects.is_ready(pod) or bool(service["spec"].get("publishNotReadyAddresses"))


def _target_port(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        for entry in container.get("ports") or []:
            if entry.get("name") == target and entry.get("protocol", "TCP") == port.get(
                "protocol", "TCP"
            ):
                number: int = entry["containerPort"]
                return number
    return whole.read(str(target)) or None


def _ports(service: Object, pod: Object) -> tuple[tuple[str, str, int, str | None], ...]:
    found = []
    for port in service["spec"].get("ports") or []:
        number = _target_port(port, pod)
        if number is not None:
            name, protocol = port.get("name") or "", port.get("protocol", "TCP")
            found.append((name, protocol, number, port.get("appProtocol")))
    return tuple(found)


def _target(pod: Object) -> Object:
    meta = pod["metadata"]
    return {
        "kind": "Pod",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }


def _is_named(service: Object, pod: Object) -> bool:
    spec = pod["spec"]
    return bool(spec.get("hostname")) and spec.get("subdomain") == service["metadata"]["name"]


def _endpoints(
    service: Object, pods: list[Object], current: Object | None, now: float
) -> list[Action]:
    groups: dict[tuple[tuple[str, str, int, str | None], ...], dict[str, list[Object]]] = {}
    for pod in pods:
        if objects.is_deleted(pod) and not service["spec"].get("publishNotReadyAddresses"):
            continue
        address = {"ip": pod["status"]["podIP"], "nodeName": pod["spec"].get("nodeName")}
        if _is_named(service, pod):
            address["hostname"] = pod["spec"]["hostname"]
        address["targetRef"] = _target(pod)
        word = "addresses" if _serves(service, pod) else "notReadyAddresses"
        group = groups.setdefault(_ports(service, pod), {})
        group.setdefault(word, []).append(address)
    subsets = []
    for ports, group in sorted(groups.items(), key=lambda item: str(item[0])):
        subset: Object = dict(sorted(group.items()))
        if ports:
            subset["ports"] = [_endpoint_port(port) for port in ports]
        subsets.append(subset)
    return _write_endpoints(service, current, subsets, now)


def _endpoint_port(port: tuple[str, str, int, str | None]) -> Object:
    name, protocol, number, application = port
    found: Object = {"name": name} if name else {}
    found |= {"port": number, "protocol": protocol}
    return found | ({"appProtocol": application} if application else {})


def _labels(service: Object) -> Object:
    labels = dict(service["metadata"].get("labels") or {})
    if service["spec"].get("clusterIP") == "None":
        labels[_HEADLESS] = ""
    return labels


def _write_endpoints(
    service: Object, current: Object | None, subsets: list[Object], now: float
) -> list[Action]:
    meta = service["metadata"]
    labels = _labels(service)
    if current is not None:
        is_same = (current.get("subsets") or []) == subsets
        if is_same and (current["metadata"].get("labels") or {}) == labels:
            return []
        changed = {**current["metadata"], "labels": labels}
        changed["annotations"] = {
            **(current["metadata"].get("annotations") or {}),
            CHANGED: objects.when(now),
        }
        return [Replace(ENDPOINTS, {**current, "metadata": changed, "subsets": subsets})]
    created: Object = {"metadata": {"name": meta["name"], "namespace": meta["namespace"]}}
    if labels:
        created["metadata"]["labels"] = labels
    if subsets:
        created["metadata"]["annotations"] = {CHANGED: objects.when(now)}
    created["subsets"] = subsets
    return [Create(ENDPOINTS, created, is_patient=True)]


def _slices(service: Object, pods: list[Object], own: list[Object], now: float) -> list[Action]:
    groups: dict[tuple[tuple[str, str, int, str | None], ...], list[Object]] = {}
    for pod in pods:
        groups.setdefault(_ports(service, pod), []).append(pod)
    wanted = [
        _slice(service, [_endpoint(service, pod) for pod in group], ports, now)
        for ports, group in sorted(groups.items(), key=lambda item: str(item[0]))
    ] or [_slice(service, [], (), now)]
    actions: list[Action] = []
    for index, slice_ in enumerate(wanted):
        if index >= len(own):
            actions.append(Create(ENDPOINTSLICES, slice_))
        elif not _same_slice(own[index], slice_):
            meta = {
                **own[index]["metadata"],
                "labels": slice_["metadata"]["labels"],
                "annotations": slice_["metadata"].get("annotations"),
            }
            actions.append(Replace(ENDPOINTSLICES, {**own[index], **slice_, "metadata": meta}))
    for extra in own[len(wanted) :]:
        meta = extra["metadata"]
        actions.append(Delete(ENDPOINTSLICES, meta["name"], meta["namespace"], meta["uid"]))
    return actions


def _endpoint(service: Object, pod: Object) -> Object:
    is_going = objects.is_deleted(pod)
    serves = _serves(service, pod)
    found: Object = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": serves
            and (not is_going or bool(service["spec"].get("publishNotReadyAddresses"))),
            "serving": serves,
            "terminating": is_going,
        },
        "targetRef": _target(pod),
        "nodeName": pod["spec"].get("nodeName"),
    }
    if _is_named(service, pod):
        found["hostname"] = pod["spec"]["hostname"]
    return found


def _slice(
    service: Object,
    endpoints: list[Object],
    ports: tuple[tuple[str, str, int, str | None], ...],
    now: float,
) -> Object:
    meta = service["metadata"]
    labels = {k: v for k, v in _labels(service).items() if k not in _COPIED_OUT}
    labels |= {MANAGED_BY: _MANAGER, SERVICE_NAME: meta["name"]}
    if service["spec"].get("clusterIP") == "None":
        labels[_HEADLESS] = ""
    created: Object = {
        "generateName": f"{meta['name']}-",
        "namespace": meta["namespace"],
        "labels": labels,
        "ownerReferences": [objects.reference_to(service, "v1", "Service")],
    }
    if endpoints:
        created["annotations"] = {CHANGED: objects.when(now)}
    found: Object = {
        "metadata": created,
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [
            {"name": name, "protocol": protocol, "port": number}
            | ({"appProtocol": application} if application else {})
            for name, protocol, number, application in ports
        ],
    }
    return found


def _same_slice(current: Object, wanted: Object) -> bool:
    return bool(
        (current.get("endpoints") or []) == wanted["endpoints"]
        and (current.get("ports") or []) == wanted["ports"]
        and current["metadata"].get("labels") == wanted["metadata"]["labels"]
    )
