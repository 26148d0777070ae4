"""The published OpenAPI definitions of Kubernetes 1.32, compiled to type trees when first needed.

Structure comes from the package kubernetes-validate. `go.json` adds what OpenAPI does not tell:
the Go order of fields, pointers (`*`), members without omitempty (`!`) and named Go types (`:T`).
Descriptions are 70 % of the file and nobody but `/openapi` wants them, so they are not kept.
"""

from __future__ import annotations

import mmap
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.node import ANYTHING, Field, Node

VERSION = "v1.32.0-local"
PREFIX = "#/$defs/"
API = "io.k8s.api."
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": types.QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": types.INT_OR_STRING,
    META + "Time": types.TIME,
    META + "MicroTime": types.MICRO_TIME,
    META + "Duration": types.DURATION,
    META + "FieldsV1": types.ANY,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": types.ANY,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": types.ANY,
}
OPEN_UNIONS = ("JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray")

START = re.compile(rb'^    "([\w.$-]+)": \{', re.MULTILINE)
KINDS = re.compile(rb'"x-kubernetes-group-version-kind": (\[.*?\])', re.DOTALL)


@cache
def _text() -> mmap.mmap:
    """The file, mapped: pages nobody looks at cost no memory."""
    package = find_spec("kubernetes_validate")  # importing it would load jsonschema: one second
    if package is None or package.origin is None:
        raise LookupError("package kubernetes-validate is missing: install the project again")
    folder = Path(package.origin).parent / "kubernetes-json-schema" / VERSION
    with (folder / "_definitions.json").open("rb") as source:
        return mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)


@cache
def _places() -> dict[str, tuple[int, int]]:
    """Where each definition begins and ends in the file; it is indented, one name per line."""
    found: dict[str, tuple[int, int]] = {}
    text = _text()
    name, begin = "", 0
    for match in START.finditer(text):
        if name:
            found[name] = (begin, match.start())
        name, begin = match[1].decode(), match.end() - 1
    if name:
        found[name] = (begin, len(text))
    return found


def published(name: str) -> dict[str, Any]:
    """A definition as published, with its descriptions; {} when there is none of this name."""
    place = _places().get(name)
    if place is None:
        return {}
    body = _text()[place[0] : place[1]]
    found: dict[str, Any] = orjson.loads(body[: body.rindex(b"\n    }") + 6])
    return found


def names() -> list[str]:
    """The names of all definitions."""
    return list(_places())


@cache
def go_fields() -> dict[str, str]:
    data: dict[str, str] = orjson.loads((Path(__file__).parent / "go.json").read_bytes())
    return data


@cache
def kinds() -> dict[tuple[str, str, str], str]:
    """(group, version, kind) -> definition name."""
    found: dict[tuple[str, str, str], str] = {}
    text = _text()
    for name, (begin, end) in _places().items():
        match = KINDS.search(text, begin, end)
        if match is None:
            continue
        for row in orjson.loads(match[1]):
            key = (row["group"], row["version"], row["kind"])
            if key not in found or (name.startswith(API) and not found[key].startswith(API)):
                found[key] = name
    return found


def short_go(name: str) -> str:
    """`v1.Container` for the definition io.k8s.api.core.v1.Container."""
    parts = name.split(".")
    return f"{parts[-2]}.{parts[-1]}"


@cache
def definition(name: str) -> Node:
    """The type tree of a definition; its fields are compiled when they are looked at."""
    if name in SPECIAL:
        found = Node(SPECIAL[name], short_go(name))
        found.definition = name
        return found
    body = published(name)
    found = Node(types.STRUCT, short_go(name))
    found.definition = name
    found.atomic = body.get("x-kubernetes-map-type") == "atomic"
    if name.rsplit(".", 1)[-1] in OPEN_UNIONS:
        found.kind = types.ANY
        return found
    found._fill = _fields_of
    return found


def _fields_of(struct: Node) -> dict[str, Field]:
    body = published(struct.definition)
    properties: dict[str, Any] = body.get("properties", {})
    row = go_fields().get(struct.definition)
    if row is None:
        required = body.get("required", ())
        row = " ".join(name + ("!" if name in required else "*") for name in properties)
    return {found.name: found for found in (_field(text, properties) for text in row.split())}


def _field(text: str, properties: dict[str, Any]) -> Field:
    text, _, go = text.partition(":")
    name = text.rstrip("*!")
    schema = properties[name]
    found = Field(name, _node(schema, go), "*" in text[len(name) :], "!" in text[len(name) :])
    by_value = found.node.kind in (types.STRUCT, types.TIME, types.MICRO_TIME, types.QUANTITY)
    if found.node.kind == types.ANY and schema.get("$ref", "").endswith("RawExtension"):
        by_value = True
    if by_value or found.node.kind in (types.INT_OR_STRING, types.DURATION):
        found.always = found.always or not found.pointer
    found.strategy = (
        tuple(schema.get("x-kubernetes-patch-strategy", "").split(","))
        if (schema.get("x-kubernetes-patch-strategy"))
        else ()
    )
    found.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
    return found


def _node(schema: dict[str, Any], go: str = "") -> Node:
    reference = schema.get("$ref")
    if reference is not None:
        found = definition(reference[len(PREFIX) :])
        if schema.get("x-kubernetes-map-type") == "atomic" and not found.atomic:
            found = _copy(found)
            found.atomic = True
        return found
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return _list(schema, go)
    if kind == "object" and "additionalProperties" in schema:
        element = _node(schema["additionalProperties"])
        found = Node(types.MAP, go or f"map[string]{element.go}")
        found.element = element
        found.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return found
    if kind == "string":
        if schema.get("format") == "byte":
            return Node(types.BYTES, "[]uint8")
        return Node(types.STRING, go or "string")
    if kind == "boolean":
        return Node(types.BOOL, go or "bool")
    if kind == "integer":
        return Node(types.INT, go or schema.get("format", "int64"))
    if kind == "number":
        return Node(types.FLOAT, go or "float64")
    return ANYTHING


def _list(schema: dict[str, Any], go: str) -> Node:
    element = _node(schema["items"])
    found = Node(types.LIST, go or f"[]{element.go}")
    found.element = element
    found.list_type = schema.get("x-kubernetes-list-type", "atomic")
    found.map_keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
    found.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
    found.strategy = tuple(filter(None, schema.get("x-kubernetes-patch-strategy", "").split(",")))
    if "x-kubernetes-list-type" not in schema and found.merge_key and "merge" in found.strategy:
        found.list_type = "map"
        found.map_keys = (found.merge_key,)
    elif "x-kubernetes-list-type" not in schema and "merge" in found.strategy:
        found.list_type = "set"
    return found


def _copy(source: Node) -> Node:
    found = Node(source.kind, source.go)
    found.definition = source.definition
    found.element = source.element
    found._fill = _fields_of
    return found
