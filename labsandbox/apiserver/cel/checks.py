"""Static checks of expressions: are variables declared, and the fields they are asked for?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labsandbox.apiserver.cel.error import CelError, pointed
from labsandbox.apiserver.cel.values import escape

Json = dict[str, Any]
MACROS = ("all", "exists", "exists_one", "map", "filter")
TYPES = frozenset(
    (
        "bool",
        "bytes",
        "double",
        "duration",
        "dyn",
        "google",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "timestamp",
        "type",
        "uint",
    )
)


def identifiers(tree: Any) -> Iterator[Any]:
    """Every variable name that stands on its own."""
    for node in tree.iter_subtrees():
        if node.data == "ident":
            yield node.children[0]


def _bound(tree: Any) -> set[str]:
    """Variables that macros such as `all(x, …)` introduce."""
    found: set[str] = set()
    for node in tree.iter_subtrees():
        if node.data == "member_dot_arg" and str(node.children[1]) in MACROS:
            arguments = node.children[2] if len(node.children) > 2 else None
            if arguments is not None:
                first = next(iter(identifiers(arguments.children[0])), None)
                if first is not None:
                    found.add(str(first))
    return found


def check(text: str, tree: Any, declared: dict[str, Json | None]) -> None:
    """Raise CelError, worded and placed as cel-go does, for what is not declared.

    `declared` gives each variable its structural schema, or None when any field may be asked for.
    """
    bound = _bound(tree)
    for token in identifiers(tree):
        name = str(token)
        if name not in declared and name not in bound and name not in TYPES:
            says = f"undeclared reference to '{name}' (in container '')"
            raise CelError(pointed(text, token.line, token.column, says))
    for node in tree.iter_subtrees_topdown():
        if node.data == "member_dot":
            _field(text, node, declared, bound)


def _field(text: str, node: Any, declared: dict[str, Json | None], bound: set[str]) -> None:
    schema = _schema_of(node.children[0], declared, bound)
    if schema is None:
        return
    token = node.children[1]
    if schema.get("type") == "object" and not _has(schema, str(token)):
        says = f"undefined field '{token}'"
        raise CelError(pointed(text, token.line, token.column - 1, says))


def _has(schema: Json, name: str) -> bool:
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties"):
        return True
    return name in {escape(key) for key in schema.get("properties") or {}}


def _schema_of(node: Any, declared: dict[str, Json | None], bound: set[str]) -> Json | None:
    """The schema of a chain of fields; None when it cannot be told."""
    while node.data in ("member", "primary") and len(node.children) == 1:
        node = node.children[0]
    if node.data == "ident":
        name = str(node.children[0])
        return None if name in bound else declared.get(name)
    if node.data == "member_dot":
        above = _schema_of(node.children[0], declared, bound)
        for key, schema in ((above or {}).get("properties") or {}).items():
            if escape(key) == str(node.children[1]):
                found: Json = schema
                return found
    return None
