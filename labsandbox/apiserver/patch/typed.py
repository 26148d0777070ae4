"""Walks over typed values: which fields there are, which changed, merging, removing.

Follows structured-merge-diff, the library behind server-side apply. `ABSENT` is a value that is not
there; None is an explicit null.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from labsandbox.apiserver.patch import fieldset
from labsandbox.apiserver.patch.fieldset import HERE, Trie
from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.node import ANYTHING, Node


class Absent:
    """The type of ABSENT."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()
NUMERIC = (types.INT, types.FLOAT)
TEXT = (types.STRING, types.BYTES, types.TIME, types.MICRO_TIME, types.DURATION)


class TypedError(ValueError):
    """A value that does not fit its type; the message carries the path."""


def is_atomic_list(node: Node) -> bool:
    return node.list_type not in ("map", "set") or node.kind != types.LIST


def is_atomic_map(node: Node) -> bool:
    return node.atomic


def is_map(value: Any, node: Node) -> bool:
    """Is this value walked as a map?"""
    if node.kind in (types.STRUCT, types.MAP):
        return value is None or value is ABSENT or isinstance(value, dict)
    return node.kind == types.ANY and isinstance(value, dict)


def child(node: Node, key: str) -> Node:
    return node.child(key) or ANYTHING


def key_default(node: Node, name: str) -> Any:
    if node.kind != types.STRUCT or name not in node.fields:
        return None
    found = node.fields[name].default
    if found is None and node.definition:
        from labsandbox.apiserver.schema.defaults import PLAIN

        found = PLAIN.get(node.definition, {}).get(name)
    return found


def element_key(node: Node, item: Any) -> str:
    """The path element of a list item; TypedError when it has none."""
    if node.list_type == "set":
        if isinstance(item, dict):
            message = "associative list without keys has an element that's a map type"
            raise TypedError(message)
        if isinstance(item, list):
            raise TypedError("not supported: associative list with lists as elements")
        if item is None:
            message = "associative list without keys has an element that's an explicit null"
            raise TypedError(message)
        return "v:" + _written(item)
    if item is None:
        raise TypedError("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise TypedError("associative list with keys may not have non-map elements")
    keys: dict[str, Any] = {}
    for name in node.map_keys:
        value = item.get(name)
        if name not in item:
            value = key_default(node.element or ANYTHING, name)
            if value is None:
                raise TypedError(
                    f'associative list with keys has an element that omits key field "{name}" '
                    "(and doesn't have default value)"
                )
        keys[name] = value
    return "k:" + _written(keys)


def _written(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # an integer of more than 64 bits, refused later by its type
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def validate(value: Any, node: Node, path: str = "", allow_duplicates: bool = False) -> list[str]:
    """What keeps `value` from being a value of this type, each with its path."""
    if value is None:
        return []
    where = f"{path}: " if path else ""
    if node.kind in (types.STRUCT, types.MAP):
        if not isinstance(value, dict):
            return [f"{where}expected map, got {go_value(value)}"]
        return _validate_map(value, node, path, allow_duplicates)
    if node.kind == types.LIST:
        if not isinstance(value, list):
            return [f"{where}expected list, got {go_value(value)}"]
        return _validate_list(value, node, path, allow_duplicates)
    message = _scalar_error(value, node)
    return [where + message] if message else []


def _validate_map(value: dict[str, Any], node: Node, path: str, allow: bool) -> list[str]:
    errors: list[str] = []
    for key, item in value.items():
        below = node.child(key)
        if below is None:
            return [*errors, f"{path}.{key}: field not declared in schema"]
        errors += validate(item, below, f"{path}.{key}", allow)
    return errors


def _validate_list(value: list[Any], node: Node, path: str, allow: bool) -> list[str]:
    errors: list[str] = []
    seen: set[str] = set()
    associative = not is_atomic_list(node)
    for index, item in enumerate(value):
        part = f"i:{index}"
        if associative:
            try:
                part = element_key(node, item)
            except TypedError as error:
                return [*errors, f"{path}: element {index}: {error}"]
            if part in seen and not allow:
                shown = fieldset.element_text(part)
                errors.append(f"{path}: duplicate entries for key {shown}")
            seen.add(part)
        below = path + fieldset.element_text(part)
        errors += validate(item, node.element or ANYTHING, below, allow)
    return errors


def go_value(value: Any) -> str:
    from labsandbox.apiserver.validation.goprint import plain

    return f"&{{{plain(value)}}}"


def _scalar_error(value: Any, node: Node) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if node.kind in NUMERIC and not is_number:
        kinds = {str: "string", bool: "bool", dict: "map[string]interface {}"}
        return f"expected numeric (int or float), got {kinds.get(type(value), '[]interface {}')}"
    if node.kind in TEXT and not isinstance(value, str):
        from labsandbox.apiserver.validation.goprint import go_syntax

        return f"expected string, got &value.valueUnstructured{{Value:{go_syntax(value)}}}"
    if node.kind == types.BOOL and not isinstance(value, bool):
        return f"expected boolean, got {go_value(value)}"
    if node.kind in (types.INT_OR_STRING, types.QUANTITY) and isinstance(value, dict | list):
        return f"expected any scalar, got {go_value(value)}"
    return ""


def field_set(value: Any, node: Node) -> Trie:
    """The fields an applied configuration claims."""
    found: Trie = {}
    _collect(value, node, found)
    return found


def _collect(value: Any, node: Node, out: Trie) -> None:
    if isinstance(value, dict) and is_map(value, node):
        if is_atomic_map(node):
            out[HERE] = {}
            return
        for key, item in value.items():
            part = "f:" + key
            below: Trie = {}
            _collect(item, child(node, key), below)
            declared = node.kind == types.STRUCT and key in node.fields
            if item is None or item == {} or not declared:
                below[HERE] = {}
            if below:
                out[part] = below
    elif isinstance(value, list) and node.kind == types.LIST and not is_atomic_list(node):
        for item in value:
            part = element_key(node, item)
            if part in out:
                out[part] = {HERE: {}}
                continue
            below = {}
            _collect(item, node.element or ANYTHING, below)
            below[HERE] = {}
            out[part] = below
    elif value is None and node.kind in (types.STRUCT, types.MAP) and not node.atomic:
        return
    else:
        out[HERE] = {}


class Comparison:
    """Which fields two values of a type do not share."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.added: Trie = {}
        self.modified: Trie = {}
        self.removed: Trie = {}

    def without(self, ignored: Trie) -> Comparison:
        found = Comparison()
        found.added = fieldset.recursive_difference(self.added, ignored)
        found.modified = fieldset.recursive_difference(self.modified, ignored)
        found.removed = fieldset.recursive_difference(self.removed, ignored)
        return found


def compare(left: Any, right: Any, node: Node) -> Comparison:
    found = Comparison()
    _compare(left, right, node, (), found)
    return found


def _compare(left: Any, right: Any, node: Node, path: fieldset.Path, out: Comparison) -> None:
    if left is right:
        return
    walked = _walked(left, right, node)
    if walked == "map":
        old = left if isinstance(left, dict) else {}
        new = right if isinstance(right, dict) else {}
        for key in old:
            if key not in new:
                _compare(old[key], ABSENT, child(node, key), (*path, "f:" + key), out)
        for key, item in new.items():
            _compare(old.get(key, ABSENT), item, child(node, key), (*path, "f:" + key), out)
    elif walked == "list":
        _compare_lists(left, right, node, path, out)
    elif not (left is ABSENT or right is ABSENT) and not same(left, right):
        fieldset.insert(out.modified, path)
    if left is ABSENT:
        fieldset.insert(out.added, path)
    elif right is ABSENT:
        fieldset.insert(out.removed, path)


def _walked(left: Any, right: Any, node: Node) -> str:
    """How two values are compared: as "map", as "list", or whole ("")."""
    if node.kind in (types.STRUCT, types.MAP) or isinstance(left, dict) or isinstance(right, dict):
        if is_map(left, node) or is_map(right, node):
            return "" if is_atomic_map(node) or not (_full(left) or _full(right)) else "map"
        if node.kind == types.ANY and (isinstance(left, dict) and isinstance(right, dict | Absent)):
            return "map"
        return ""
    if node.kind == types.LIST and not is_atomic_list(node) and (_full(left) or _full(right)):
        return "list"
    return ""


def _full(value: Any) -> bool:
    return isinstance(value, dict | list) and len(value) > 0


def same(left: Any, right: Any) -> bool:
    """Equal, telling 1 from true."""
    if left != right:
        return False
    return isinstance(left, bool) == isinstance(right, bool)


def _index(value: Any, node: Node) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in value if isinstance(value, list) else ():
        try:
            found.setdefault(element_key(node, item), []).append(item)
        except TypedError:
            continue
    return found


def _compare_lists(left: Any, right: Any, node: Node, path: fieldset.Path, out: Comparison) -> None:
    old, new = _index(left, node), _index(right, node)
    element = node.element or ANYTHING
    for part in dict.fromkeys((*old, *new)):
        olds, news = old.get(part, []), new.get(part, [])
        below = (*path, part)
        if len(olds) <= 1 and len(news) <= 1:
            before = olds[0] if olds else ABSENT
            _compare(before, news[0] if news else ABSENT, element, below, out)
        elif len(olds) >= 2 and len(news) >= 2:
            if olds != news:
                fieldset.insert(out.modified, below)
        elif len(olds) >= 2:
            if news:
                _compare(ABSENT, news[0], element, below, out)
            fieldset.insert(out.removed, below)
        else:
            if olds:
                _compare(olds[0], ABSENT, element, below, out)
            fieldset.insert(out.added, below)
