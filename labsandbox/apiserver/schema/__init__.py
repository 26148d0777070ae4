"""What the kinds of the API look like: decoding, defaults, merge rules, OpenAPI.

`kind_schema(group, version, kind)` is the way in for built-in kinds; custom kinds bring the same
interface (`decode`, `default`, `node`) from `labsandbox.apiserver.crd`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from labsandbox.apiserver.schema.decode import DecodeError, decode
from labsandbox.apiserver.schema.defaults import apply_defaults
from labsandbox.apiserver.schema.definitions import definition, kinds
from labsandbox.apiserver.schema.json import JsonError
from labsandbox.apiserver.schema.node import Field, Node
from labsandbox.apiserver.schema.yaml import YamlError

__all__ = [
    "DecodeError",
    "Field",
    "JsonError",
    "KindSchema",
    "Node",
    "YamlError",
    "kind_schema",
]


class KindSchema:
    """A built-in kind: what its objects must look like and what is filled in."""

    def __init__(self, group: str, version: str, kind: str, name: str) -> None:
        self.group = group
        self.version = version
        self.kind = kind
        self.definition = name

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def node(self) -> Node:
        """The type tree for merging and field ownership."""
        return definition(self.definition)

    def decode(self, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Read an object as Go would: (the object, messages about fields nobody knows).

        A value of the wrong type raises DecodeError with Go's message.
        """
        found, messages = decode(obj, self.node)
        result: dict[str, Any] = {"kind": self.kind, "apiVersion": self.api_version}
        result.update((k, v) for k, v in found.items() if k not in ("kind", "apiVersion"))
        return result, messages

    def default(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Fill in what the server fills in; `obj` itself is changed and returned."""
        apply_defaults(obj, self.node)
        return obj


@cache
def kind_schema(group: str, version: str, kind: str) -> KindSchema | None:
    """The schema of a built-in kind; None when Kubernetes 1.32 does not publish it."""
    name = kinds().get((group, version, kind))
    return KindSchema(group, version, kind, name) if name is not None else None
