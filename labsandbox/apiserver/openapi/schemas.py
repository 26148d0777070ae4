"""Schemas of kinds, as OpenAPI 2 and 3 write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.schema import definitions
from labsandbox.apiserver.schema.definitions import META

Json = dict[str, Any]
V2, V3 = "#/definitions/", "#/components/schemas/"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should "
    "convert recognized schemas to the latest internal value, and may reject unrecognized values. "
    "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/"
    "api-conventions.md#resources"
)
_KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may "
    "infer this from the endpoint the client submits requests to. Cannot be updated. In "
    "CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/"
    "api-conventions.md#types-kinds"
)
_METADATA = (
    "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/"
    "sig-architecture/api-conventions.md#metadata"
)


def published(name: str, prefix: str) -> Json:
    """A published definition in the version of OpenAPI that `prefix` belongs to."""
    body = definitions.published(name)
    is_v3 = prefix == V3
    if name == _INT_OR_STRING:
        shape = (
            {"oneOf": [{"type": "integer"}, {"type": "string"}]} if is_v3 else {"type": "string"}
        )
        return {"description": body.get("description", ""), **shape, "format": "int-or-string"}
    if name == _QUANTITY:
        shape = {"oneOf": [{"type": "string"}, {"type": "number"}]} if is_v3 else {"type": "string"}
        return {"description": body.get("description", ""), **shape}
    found: Json = _convert(body, prefix, is_v3, top=True)
    for field in ("apiVersion", "kind"):
        known = (found.get("properties") or {}).get(field)
        if isinstance(known, dict):
            known.pop("enum", None)
    return found


def _convert(node: Any, prefix: str, is_v3: bool, *, top: bool = False, inner: bool = False) -> Any:
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        return _reference(node, reference, prefix, is_v3)
    out: Json = {}
    for key, value in node.items():
        if key == "type" and isinstance(value, list):
            out[key] = next((one for one in value if one != "null"), "object")
        elif key == "properties":
            out[key] = {name: _convert(one, prefix, is_v3) for name, one in value.items()}
        elif key in ("items", "additionalProperties"):
            out[key] = _convert(value, prefix, is_v3, inner=True)
        elif key in ("oneOf", "anyOf", "allOf"):
            out[key] = [_convert(one, prefix, is_v3) for one in value]
        elif key == "$schema":
            continue
        else:
            out[key] = value
    if top and "type" not in out and "properties" in out:
        out["type"] = "object"
    if is_v3 and inner and out.get("type") == "string" and "format" not in out:
        out.setdefault("default", "")
    return out


def _reference(node: Json, reference: str, prefix: str, is_v3: bool) -> Json:
    name = reference.removeprefix(definitions.PREFIX)
    target = f"{prefix}{name}"
    rest = {key: value for key, value in node.items() if key != "$ref"}
    if not is_v3:
        return {**rest, "$ref": target}
    if not rest and not name.startswith(META + "ObjectMeta"):
        return {"allOf": [{"$ref": target}], "default": {}}
    return {**rest, "default": {}, "allOf": [{"$ref": target}]}


def references(node: Any) -> Iterable[str]:
    """Names of the definitions a converted schema refers to."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rpartition("/")[2]
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def kind_name(resource: ResourceDef, kind: str = "") -> str:
    """The name of the schema of a resource's kind."""
    kind = kind or resource.kind
    if resource.custom is not None:
        reversed_group = ".".join(reversed(resource.group.split(".")))
        return f"{reversed_group}.{resource.version}.{kind}"
    return definitions.kinds().get((resource.group, resource.version, kind), "")


def custom_schemas(resource: ResourceDef, prefix: str) -> dict[str, Json]:
    """The schemas of a custom kind and of its list."""
    name, list_name = kind_name(resource), kind_name(resource, resource.kind_of_list)
    version = resource.custom.version(resource.version)
    schema = version.schema
    own = _custom(schema or {"type": "object"}, prefix == V3)
    # Clients of version 2 take properties for all there are, so an open schema names none.
    is_open = schema is None or (
        prefix != V3 and bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    )
    if is_open:
        own = {"type": "object"}
    group_version = {"group": resource.group, "version": resource.version}
    if not is_open:
        own["properties"] = {**_type_meta(prefix, "ObjectMeta"), **_without_meta(own)}
    own["x-kubernetes-group-version-kind"] = [{**group_version, "kind": resource.kind}]
    selectable = resource.custom.selectable_fields(resource.version)
    if selectable:
        own["x-kubernetes-selectable-fields"] = [{"fieldPath": field} for field in selectable]
    listed: Json = {
        "description": f"{resource.kind_of_list} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_meta(prefix, "ListMeta"),
            "items": {
                "description": f"List of {resource.plural}.",
                "type": "array",
                "items": _link(f"{prefix}{name}", prefix),
            },
        },
        "x-kubernetes-group-version-kind": [{**group_version, "kind": resource.kind_of_list}],
    }
    return {name: own, list_name: listed}


def _without_meta(schema: Json) -> Json:
    return {
        key: value
        for key, value in (schema.get("properties") or {}).items()
        if key not in ("apiVersion", "kind", "metadata")
    }


def _link(target: str, prefix: str) -> Json:
    return {"allOf": [{"$ref": target}]} if prefix == V3 else {"$ref": target}


def _type_meta(prefix: str, metadata: str) -> Json:
    return {
        "apiVersion": {"description": _API_VERSION, "type": "string"},
        "kind": {"description": _KIND, "type": "string"},
        "metadata": {"description": _METADATA, **_link(f"{prefix}{META}{metadata}", prefix)},
    }


_V3_ONLY = {"nullable", "anyOf", "oneOf", "not", "allOf"}


def _custom(node: Any, is_v3: bool) -> Any:
    """A structural schema; what OpenAPI 2 cannot say is left out there."""
    if isinstance(node, list):
        return [_custom(one, is_v3) for one in node]
    if not isinstance(node, dict):
        return node
    out: Json = {}
    for key, value in node.items():
        if key == "properties":
            out[key] = {name: _custom(one, is_v3) for name, one in value.items()}
        elif key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf", "not"):
            out[key] = _custom(value, is_v3)
        else:
            out[key] = value
    if out.get("x-kubernetes-int-or-string") and is_v3:
        out = {"anyOf": [{"type": "integer"}, {"type": "string"}], **out}
    if not is_v3:
        if out.get("x-kubernetes-preserve-unknown-fields") or out.get("nullable"):
            out.pop("properties", None)
            out.pop("type", None)
        out = {key: value for key, value in out.items() if key not in _V3_ONLY}
    return out
