"""The type tree that decoding, merging and field ownership walk: one node per type of a field.

Built-in kinds and custom kinds share it. It knows Go where the answers of a real server depend on
it: which fields are pointers (an explicit zero is kept) and which are always written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

STRUCT = "struct"
MAP = "map"
LIST = "list"
STRING = "string"
BOOL = "bool"
INT = "int"
FLOAT = "float"
BYTES = "bytes"
TIME = "time"
MICRO_TIME = "microtime"
QUANTITY = "quantity"
INT_OR_STRING = "intstr"
DURATION = "duration"
ANY = "any"


class Node:
    """A type: its shape, its Go spelling, and how two values of it merge."""

    __slots__ = (
        "_fields",
        "_fill",
        "atomic",
        "definition",
        "element",
        "go",
        "kind",
        "list_type",
        "map_keys",
        "merge_key",
        "open",
        "strategy",
    )

    def __init__(self, kind: str, go: str = "") -> None:
        self.kind = kind
        self.go = go
        self.definition = ""
        self.element: Node | None = None
        self.atomic = False
        self.list_type = ""
        self.map_keys: tuple[str, ...] = ()
        self.merge_key = ""
        self.strategy: tuple[str, ...] = ()
        self.open = False
        """Fields the schema does not name are allowed and are of any type."""
        self._fields: dict[str, Field] | None = None
        self._fill: Callable[[Node], dict[str, Field]] | None = None

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of a struct, in Go order; built when first asked for."""
        if self._fields is None:
            self._fields = self._fill(self) if self._fill is not None else {}
            self._fill = None
        return self._fields

    def child(self, name: str) -> Node | None:
        """The type below key `name` of an object of this type; None when it is not declared."""
        if self.kind == STRUCT:
            found = self.fields.get(name)
            if found is not None:
                return found.node
            return ANYTHING if self.open else self.element
        if self.kind == MAP:
            return self.element
        return ANYTHING if self.kind == ANY else None

    @property
    def is_associative(self) -> bool:
        """Is it a list whose elements are told apart by key fields?"""
        return self.kind == LIST and self.list_type == "map"

    @property
    def is_set(self) -> bool:
        return self.kind == LIST and self.list_type == "set"

    @property
    def is_leaf(self) -> bool:
        """Is a value of this type owned as a whole?"""
        if self.kind in (STRUCT, MAP):
            return self.atomic
        return not (self.kind == LIST and self.list_type in ("map", "set"))

    def __repr__(self) -> str:
        return f"Node({self.kind}, {self.go or self.definition})"


class Field:
    """A named member of a struct."""

    __slots__ = ("always", "default", "merge_key", "name", "node", "pointer", "strategy")

    def __init__(self, name: str, node: Node, pointer: bool = False, always: bool = False) -> None:
        self.name = name
        self.node = node
        self.pointer = pointer
        self.always = always
        """Written even when it is empty, because Go's encoder does not leave it out."""
        self.strategy: tuple[str, ...] = ()
        self.merge_key = ""
        self.default: Any = None

    def __repr__(self) -> str:
        return f"Field({self.name}, {self.node!r})"


ANYTHING = Node(ANY, "interface {}")
