"""Sets of field paths, as `managedFields` keeps them: tries of `f:name`, `k:{…}` and `v:…`.

In memory a node is a dict; the key "." says the path that ends there is a member. In FieldsV1 a
member without children is written as `{}`, so reading and writing add and drop that ".".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from labsandbox.apiserver.schema.node import STRUCT, Node

Trie = dict[str, Any]
Path = tuple[str, ...]
HERE = "."


def read(fields: Any) -> Trie:
    """From FieldsV1; ValueError for a key that no path can have."""
    if not isinstance(fields, dict):
        return {}
    found: Trie = {}
    for key, below in fields.items():
        if key == HERE:
            found[HERE] = {}
        elif isinstance(below, dict) and _is_known(key):
            child = read(below)
            found[key] = child or {HERE: {}}
    return found


def _is_known(key: str) -> bool:
    """Whether this server knows the kind of the path element; others are left out, as Go does."""
    if len(key) < 2 or key[1] != ":":
        raise ValueError(f"not a path element: {key!r}")
    if key[0] == "i":
        int(key[2:])
    elif key[0] in "kv":
        value = orjson.loads(key[2:])
        if key[0] == "k" and not isinstance(value, dict):
            raise ValueError(f"not a key: {key!r}")
    return key[0] in "fkvi"


def write(trie: Trie) -> dict[str, Any]:
    """To FieldsV1."""
    found: dict[str, Any] = {}
    for key in sorted(trie, key=_order):
        below = trie[key]
        found[key] = {} if key == HERE or _is_leaf(below) else write(below)
    return found


def _order(key: str) -> tuple[int, str]:
    return ((".", "f", "k", "v", "i").index(key[0]) if key[0] in ".fkvi" else 9, key)


def _is_leaf(trie: Trie) -> bool:
    return len(trie) == 1 and HERE in trie


def insert(trie: Trie, path: Path) -> None:
    for part in path:
        trie = trie.setdefault(part, {})
    trie[HERE] = {}


def has(trie: Trie, path: Path) -> bool:
    for part in path:
        below = trie.get(part)
        if below is None:
            return False
        trie = below
    return HERE in trie


def union(left: Trie, right: Trie) -> Trie:
    found = dict(left)
    for key, below in right.items():
        found[key] = union(found[key], below) if key in found else below
    return found


def difference(left: Trie, right: Trie) -> Trie:
    """The members of `left` that are not members of `right`."""
    found: Trie = {}
    for key, below in left.items():
        other = right.get(key)
        if other is None:
            found[key] = below
        elif key != HERE:
            rest = difference(below, other)
            if rest:
                found[key] = rest
    return found


def recursive_difference(left: Trie, right: Trie) -> Trie:
    """`left` without the members of `right` and everything below them."""
    found: Trie = {}
    for key, below in left.items():
        other = right.get(key)
        if other is None:
            found[key] = below
        elif key != HERE and HERE not in other:
            rest = recursive_difference(below, other)
            if rest:
                found[key] = rest
    return found


def intersection(left: Trie, right: Trie) -> Trie:
    found: Trie = {}
    for key, below in left.items():
        other = right.get(key)
        if other is None:
            continue
        if key == HERE:
            found[HERE] = {}
        else:
            both = intersection(below, other)
            if both:
                found[key] = both
    return found


def with_named_members(trie: Trie, node: Node | None) -> Trie:
    """Make every declared field that has members below it a member too."""
    found: Trie = {}
    for key, below in trie.items():
        if key == HERE:
            found[HERE] = {}
            continue
        child = child_node(node, key)
        inner = with_named_members(below, child)
        if key[0] == "f" and node is not None and node.kind == STRUCT and key[2:] in node.fields:
            inner[HERE] = {}
        found[key] = inner
    return found


def child_node(node: Node | None, key: str) -> Node | None:
    if node is None:
        return None
    return node.child(key[2:]) if key[0] == "f" else node.element


def paths(trie: Trie, above: Path = ()) -> Iterator[Path]:
    """Every member, in order."""
    for key in sorted(trie, key=_order):
        if key == HERE:
            yield above
        else:
            yield from paths(trie[key], (*above, key))


def path_text(path: Path) -> str:
    """`.spec.containers[name="a"].image`."""
    return "".join(element_text(part) for part in path)


def element_text(part: str) -> str:
    if part[0] == "f":
        return "." + part[2:]
    if part[0] == "k":
        keys = orjson.loads(part[2:])
        shown = ",".join(f"{name}={orjson.dumps(keys[name]).decode()}" for name in sorted(keys))
        return f"[{shown}]"
    return f"[={part[2:]}]" if part[0] == "v" else f"[{part[2:]}]"
