"""Rows for the kinds of `labsandbox/apiserver/registry/rare.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labsandbox.apiserver.printers.cells import NONE, UNSET, Json, at, created, items, name


def runtime_class_row(obj: Json) -> list[Any]:
    """The cells of a RuntimeClass."""
    return [name(obj), str(obj.get("handler") or ""), created(obj)]


def policy_binding_row(obj: Json) -> list[Any]:
    """The cells of a ValidatingAdmissionPolicyBinding."""
    param = at(obj, "spec", "paramRef")
    shown = UNSET
    if param and param.get("name"):
        space = param.get("namespace") or "*"
        shown = f"{space}/{param['name']}"
    return [name(obj), str(at(obj, "spec", "policyName") or ""), shown, created(obj)]


def flow_schema_row(obj: Json) -> list[Any]:
    """The cells of a FlowSchema."""
    dangling = "?"
    for row in items(obj, "status", "conditions"):
        if row.get("type") == "Dangling":
            dangling = str(row.get("status"))
    return [
        name(obj),
        str(at(obj, "spec", "priorityLevelConfiguration", "name") or ""),
        at(obj, "spec", "matchingPrecedence") or 0,
        str(at(obj, "spec", "distinguisherMethod", "type") or NONE),
        created(obj),
        dangling,
    ]


def priority_level_row(obj: Json) -> list[Any]:
    """The cells of a PriorityLevelConfiguration."""
    limited = at(obj, "spec", "limited")
    queuing = at(obj, "spec", "limited", "limitResponse", "queuing")
    exempt = at(obj, "spec", "exempt")
    shares = (limited or exempt or {}).get("nominalConcurrencyShares", NONE)
    shown = [(queuing or {}).get(key, NONE) for key in ("queues", "handSize", "queueLengthLimit")]
    return [name(obj), str(at(obj, "spec", "type") or ""), shares, *shown, created(obj)]


def ingress_class_row(obj: Json) -> list[Any]:
    """The cells of an IngressClass."""
    reference = at(obj, "spec", "parameters")
    shown = NONE
    if reference:
        group = reference.get("apiGroup")
        kind = f"{reference.get('kind')}.{group}" if group else str(reference.get("kind"))
        shown = f"{kind}/{reference.get('name')}"
    return [name(obj), at(obj, "spec", "controller") or "", shown, created(obj)]


ROWS: dict[str, Callable[[Json], list[Any]]] = {
    "flowschemas.flowcontrol.apiserver.k8s.io": flow_schema_row,
    "ingressclasses.networking.k8s.io": ingress_class_row,
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": priority_level_row,
    "runtimeclasses.node.k8s.io": runtime_class_row,
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": policy_binding_row,
}
