"""Turns a structural schema into the type tree that merging and field ownership walk."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.crd.structural import additional
from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.definitions import META, definition
from labsandbox.apiserver.schema.node import ANYTHING, Field, Node

Json = dict[str, Any]
SCALARS = {
    "string": types.STRING,
    "integer": types.INT,
    "number": types.FLOAT,
    "boolean": types.BOOL,
}


def build(schema: Json | None) -> Node:
    """The type tree of a custom kind, with apiVersion, kind and metadata at the root."""
    found = _node(schema or {"x-kubernetes-preserve-unknown-fields": True, "type": "object"})
    if found.kind != types.STRUCT:
        found = Node(types.STRUCT)
        found.open = True
    fields = dict(found.fields)
    fields["apiVersion"] = Field("apiVersion", Node(types.STRING, "string"))
    fields["kind"] = Field("kind", Node(types.STRING, "string"))
    fields["metadata"] = Field("metadata", definition(META + "ObjectMeta"))
    found._fields = fields
    return found


def _node(schema: Json) -> Node:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return ANYTHING
    if schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get("properties"):
        return ANYTHING
    if kind == "object" or (not kind and schema.get("properties")):
        return _object(schema)
    if kind == "array":
        found = Node(types.LIST)
        items = schema.get("items")
        found.element = _node(items) if isinstance(items, dict) else ANYTHING
        found.list_type = schema.get("x-kubernetes-list-type", "atomic")
        found.map_keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        return found
    if kind in SCALARS:
        return Node(SCALARS[kind], kind)
    return ANYTHING


def _object(schema: Json) -> Node:
    more = additional(schema)
    properties = schema.get("properties") or {}
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    if isinstance(more, dict) and not properties:
        found = Node(types.MAP)
        found.element = _node(more)
    else:
        found = Node(types.STRUCT)
        found.open = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or more is True
        found._fill = lambda _: {name: _field(name, below) for name, below in properties.items()}
        if schema.get("x-kubernetes-embedded-resource"):
            inner = found._fill
            found._fill = lambda node: {**_resource_fields(), **inner(node)}
    found.atomic = atomic
    return found


def _resource_fields() -> dict[str, Field]:
    return {
        "apiVersion": Field("apiVersion", Node(types.STRING, "string")),
        "kind": Field("kind", Node(types.STRING, "string")),
        "metadata": Field("metadata", definition(META + "ObjectMeta")),
    }


def _field(name: str, schema: Json) -> Field:
    found = Field(name, _node(schema), pointer=True)
    found.default = schema.get("default")
    return found
