"""Pod templates as Go's `%#v` prints them, for the few messages that show a whole one."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.definitions import definition
from labsandbox.apiserver.schema.node import Field, Node
from labsandbox.apiserver.validation.goprint import quote, string_map_text
from labsandbox.quantity import mantissa, parse

Json = dict[str, Any]
CORE = "io.k8s.api.core.v1."
POINTER = "0xc000000000"
SPECIAL = {
    "dnsPolicy": "DNSPolicy",
    "dnsConfig": "DNSConfig",
    "tty": "TTY",
    "os": "OS",
    "setHostnameAsFQDN": "SetHostnameAsFQDN",
}
POD_SPEC = [
    "volumes",
    "initContainers",
    "containers",
    "ephemeralContainers",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "dnsPolicy",
    "nodeSelector",
    "serviceAccountName",
    "automountServiceAccountToken",
    "nodeName",
    "securityContext",
    "imagePullSecrets",
    "hostname",
    "subdomain",
    "setHostnameAsFQDN",
    "affinity",
    "schedulerName",
    "tolerations",
    "hostAliases",
    "priorityClassName",
    "priority",
    "preemptionPolicy",
    "dnsConfig",
    "readinessGates",
    "runtimeClassName",
    "overhead",
    "enableServiceLinks",
    "topologySpreadConstraints",
    "os",
    "schedulingGates",
    "resourceClaims",
    "resources",
]


def template_text(template: Json) -> str:
    """A core.PodTemplateSpec."""
    metadata = template.get("metadata") or {}
    meta = (
        'v1.ObjectMeta{Name:"", GenerateName:"", Namespace:"", SelfLink:"", UID:"", '
        'ResourceVersion:"", Generation:0, CreationTimestamp:time.Date(1, time.January, 1, 0, 0, '
        "0, 0, time.UTC), DeletionTimestamp:<nil>, DeletionGracePeriodSeconds:(*int64)(nil), "
        f"Labels:{string_map_text(metadata.get('labels'))}, "
        f"Annotations:{string_map_text(metadata.get('annotations'))}, "
        "OwnerReferences:[]v1.OwnerReference(nil), Finalizers:[]string(nil), "
        "ManagedFields:[]v1.ManagedFieldsEntry(nil)}"
    )
    spec = template.get("spec") or {}
    fields = definition(CORE + "PodSpec").fields
    rows = [_member(fields[name], spec.get(name)) for name in POD_SPEC]
    return f"core.PodTemplateSpec{{ObjectMeta:{meta}, Spec:core.PodSpec{{{', '.join(rows)}}}}}"


def _member(field: Field, value: Any) -> str:
    name = SPECIAL.get(field.name, field.name[:1].upper() + field.name[1:])
    return f"{name}:{_pointer(field, value) if field.pointer else value_text(field.node, value)}"


def _core(go: str) -> str:
    return go.replace("v1.", "core.") if not go.startswith("map") else go


def _pointer(field: Field, value: Any) -> str:
    return f"(*{_core(field.node.go)})({'nil' if value is None else POINTER})"


def value_text(node: Node, value: Any) -> str:
    """A value of this type."""
    if node.kind == types.STRUCT:
        if node.definition == CORE + "Volume":
            return _volume(value or {})
        rows = [_member(field, (value or {}).get(name)) for name, field in node.fields.items()]
        return f"{_core(node.go)}{{{', '.join(rows)}}}"
    if node.kind == types.LIST and node.element is not None:
        if value is None:
            return f"{_core(node.go)}(nil)"
        inner = ", ".join(value_text(node.element, item) for item in value)
        return f"{_core(node.go)}{{{inner}}}"
    if node.kind == types.MAP and node.element is not None:
        return _map(node, node.element, value)
    if node.kind == types.QUANTITY:
        return quantity_text(value or "0")
    if node.kind == types.INT_OR_STRING:
        if isinstance(value, str):
            return f"intstr.IntOrString{{Type:1, IntVal:0, StrVal:{quote(value)}}}"
        return f'intstr.IntOrString{{Type:0, IntVal:{value or 0}, StrVal:""}}'
    if node.kind == types.BOOL:
        return "true" if value else "false"
    return quote(value or "") if node.kind == types.STRING else str(value or 0)


def _map(node: Node, element: Node, value: Json | None) -> str:
    go = "core.ResourceList" if element.kind == types.QUANTITY else node.go
    if value is None:
        return f"{go}(nil)"
    rows = (f"{quote(key)}:{value_text(element, value[key])}" for key in sorted(value))
    return f"{go}{{{', '.join(rows)}}}"


def _volume(value: Json) -> str:
    fields = [f for name, f in definition(CORE + "Volume").fields.items() if name != "name"]
    rows = ", ".join(_member(field, value.get(field.name)) for field in fields)
    source = f"core.VolumeSource{{{rows}}}"
    return f"core.Volume{{Name:{quote(value.get('name', ''))}, VolumeSource:{source}}}"


def quantity_text(text: str) -> str:
    """A resource.Quantity."""
    value, scale = mantissa(text)
    kinds = {"binary": "BinarySI", "exponent": "DecimalExponent"}
    notation = kinds.get(parse(text).notation, "DecimalSI")
    return (
        f"resource.Quantity{{i:resource.int64Amount{{value:{value}, scale:{scale}}}, "
        f"d:resource.infDecAmount{{Dec:(*inf.Dec)(nil)}}, s:{quote(text)}, "
        f"Format:{quote(notation)}}}"
    )
