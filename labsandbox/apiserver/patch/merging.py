"""Merges an applied configuration into an object and takes fields out of one, by type."""

from __future__ import annotations

from collections import deque
from typing import Any

from labsandbox.apiserver.patch.fieldset import HERE, Trie
from labsandbox.apiserver.patch.typed import (
    ABSENT,
    TypedError,
    child,
    element_key,
    is_atomic_list,
    is_atomic_map,
    is_map,
)
from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.node import ANYTHING, Node


def merge(left: Any, right: Any, node: Node) -> Any:
    """`right` over `left`; ABSENT when nothing is left."""
    if right is ABSENT:
        return left
    if isinstance(right, dict) and is_map(right, node) and not is_atomic_map(node):
        old = left if isinstance(left, dict) else {}
        if not old and not right:
            return right
        found = dict(old)
        for key, item in right.items():
            merged = merge(old.get(key, ABSENT), item, child(node, key))
            if merged is ABSENT:
                found.pop(key, None)
            else:
                found[key] = merged
        return found
    if right is None and node.kind in (types.STRUCT, types.MAP) and isinstance(left, dict) and left:
        return left if not is_atomic_map(node) else None
    if isinstance(right, list) and node.kind == types.LIST and not is_atomic_list(node):
        old_items = left if isinstance(left, list) else []
        if not old_items and not right:
            return right
        return _merge_lists(old_items, right, node)
    return right


def _merge_lists(left: list[Any], right: list[Any], node: Node) -> list[Any]:
    element = node.element or ANYTHING
    left_keys = [element_key(node, item) for item in left]
    right_keys = [element_key(node, item) for item in right]
    old: dict[str, Any] = {}
    for key, item in zip(left_keys, left, strict=True):
        old[key] = ABSENT if key in old else item
    new = dict(zip(right_keys, right, strict=True))
    if len(new) != len(right_keys):
        raise TypedError("duplicate entries")
    shared = deque(key for key in right_keys if key in old)
    merged: set[str] = set()
    out: list[Any] = []
    at_left = at_right = 0

    def take(key: str) -> None:
        merged.add(key)
        found = merge(old.get(key, ABSENT), new[key], element)
        if found is not ABSENT:
            out.append(found)
        if shared and shared[0] == key:
            shared.popleft()

    while at_left < len(left_keys) or at_right < len(right_keys):
        if at_left < len(left_keys):
            key = left_keys[at_left]
            if at_right < len(right_keys):
                if key == right_keys[at_right]:
                    take(key)
                    at_left += 1
                    at_right += 1
                    continue
                if key in new and shared and shared[0] != key:
                    at_left += 1
                    continue
            if key not in new:
                out.append(left[at_left])
                at_left += 1
                continue
            if key in merged:
                at_left += 1
        if at_right < len(right_keys):
            take(right_keys[at_right])
            at_right += 1
    return out


def remove(value: Any, gone: Trie, node: Node) -> Any:
    """`value` without the members of `gone`."""
    if isinstance(value, dict) and is_map(value, node):
        if not value:
            return None
        if is_atomic_map(node):
            return None
        found: dict[str, Any] = {}
        for key, item in value.items():
            below = gone.get("f:" + key)
            if below is None:
                found[key] = item
            elif HERE in below:
                continue
            else:
                found[key] = remove(item, below, child(node, key))
        return found or None
    if isinstance(value, list) and node.kind == types.LIST:
        if is_atomic_list(node) or not value:
            return None
        items = []
        for item in value:
            below = gone.get(element_key(node, item))
            if below is None:
                items.append(item)
            elif HERE not in below:
                items.append(remove(item, below, node.element or ANYTHING))
        return items or None
    return value
