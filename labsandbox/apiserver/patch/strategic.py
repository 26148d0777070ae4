"""Strategic merge patch: lists are merged by the keys the published schema declares.

Directives: `$patch` (replace, delete, merge), `$deleteFromPrimitiveList/x`, `$setElementOrder/x`,
`$retainKeys`.
"""

from __future__ import annotations

from typing import Any

import orjson

from labsandbox.apiserver.patch.jsonpatch import refused
from labsandbox.apiserver.schema import node as types
from labsandbox.apiserver.schema.node import Field, Node
from labsandbox.apiserver.status import StatusError, bad_request, server_error
from labsandbox.apiserver.validation.goprint import plain

DIRECTIVE = "$patch"
DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"
RETAIN = "$retainKeys"
Json = dict[str, Any]
_GONE = object()


def apply_strategic(obj: Json, patch: Any, node: Node) -> Json:
    """Return `obj` with `patch` merged in by the rules of its kind."""
    if not isinstance(patch, dict):
        kinds = {list: "array", str: "string", bool: "bool", type(None): "null"}
        kind = kinds.get(type(patch), "number")
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type "
            "map[string]interface {}"
        )
    return _merge_map(obj, patch, node)


def _field(node: Node | None, name: str) -> Field | None:
    if node is None or node.kind != types.STRUCT:
        return None
    return node.fields.get(name)


def _child(node: Node | None, name: str) -> Node | None:
    return node.child(name) if node is not None else None


def _merge_map(original: Json, patch: Json, node: Node | None) -> Json:
    directive = patch.get(DIRECTIVE)
    if directive is not None:
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != DIRECTIVE}
        if directive == "delete":
            return {}
        if directive != "merge":
            raise _bad_directive(directive, patch)
    found = _retain(dict(original), patch)
    for key, value in patch.items():
        if key in (DIRECTIVE, RETAIN) or key.startswith((DELETE_PRIMITIVE, SET_ORDER)):
            continue
        if value is None:
            found.pop(key, None)
            continue
        _merge_key(found, key, value, patch, node)
    _delete_primitives(found, patch)
    _order_untouched(found, patch, node)
    return found


def _bad_directive(directive: Any, patch: Json) -> StatusError:
    return server_error(f"unknown patch type: {directive} in map: {plain(patch)}")


def _retain(found: Json, patch: Json) -> Json:
    keep = patch.get(RETAIN)
    if keep is None:
        return found
    if not isinstance(keep, list):
        raise server_error(f"$retainKeys has unexpected type: {plain(keep)}")
    kept = {key for key in keep if isinstance(key, str)}
    for key in patch:
        if key not in (RETAIN, DIRECTIVE) and not key.startswith("$") and key not in kept:
            raise server_error("patch contains fields that are not in the retainKeys list: " + key)
    return {key: value for key, value in found.items() if key in kept}


def _merge_key(found: Json, key: str, value: Any, patch: Json, node: Node | None) -> None:
    field = _field(node, key)
    below = _child(node, key)
    old = found.get(key)
    if isinstance(value, dict) and key not in found and DIRECTIVE in value:
        return  # a directive about what is not there
    if isinstance(value, dict):
        replaces = field is not None and "replace" in field.strategy
        if replaces and isinstance(old, dict):
            found[key] = value
        else:
            found[key] = _merge_map(old if isinstance(old, dict) else {}, value, below)
    elif isinstance(value, list) and _merges(field, below):
        order = patch.get(SET_ORDER + key)
        found[key] = _merge_list(old if isinstance(old, list) else [], value, field, below, order)
    else:
        found[key] = value


def _merges(field: Field | None, node: Node | None) -> bool:
    strategy = field.strategy if field is not None else ()
    return "merge" in strategy and node is not None and node.kind == types.LIST


def _merge_list(
    old: list[Any], patch: list[Any], field: Field | None, node: Node | None, order: Any
) -> list[Any]:
    element = node.element if node is not None else None
    if not any(isinstance(item, dict) for item in (*old, *patch)):
        present = {orjson.dumps(item) for item in old}
        merged = list(old) + [item for item in patch if orjson.dumps(item) not in present]
        return _ordered(merged, patch, order, None, old)
    key = field.merge_key if field is not None else ""
    replace = [
        item for item in patch if isinstance(item, dict) and item.get(DIRECTIVE) == "replace"
    ]
    if replace:
        return [
            {k: v for k, v in item.items() if k != DIRECTIVE}
            for item in patch
            if isinstance(item, dict)
            and item.get(DIRECTIVE) != "delete"
            and set(item) != {DIRECTIVE}
        ]
    found = _merge_items(old, patch, key, element)
    live = [item for item in patch if isinstance(item, dict) and item.get(DIRECTIVE) != "delete"]
    return _ordered(found, live, order, key, old)


def _merge_items(old: list[Any], patch: list[Any], key: str, element: Node | None) -> list[Any]:
    """The items of the patch merged into those with the same key; `$patch: delete` removes these.

    Items are looked up, not searched: a patch may have as many as the object.
    """
    found: list[Any] = list(old)
    places: dict[bytes, list[int]] = {}
    for index, row in enumerate(found):
        if isinstance(row, dict):
            places.setdefault(orjson.dumps(row.get(key)), []).append(index)
    for item in patch:
        if not isinstance(item, dict):
            raise refused()
        wanted = orjson.dumps(_key(item, key))
        if item.get(DIRECTIVE) == "delete":
            for index in places.pop(wanted, ()):
                found[index] = _GONE
            continue
        same = next((at for at in places.get(wanted, ()) if key in found[at]), None)
        if same is None:
            places.setdefault(wanted, []).append(len(found))
            found.append(_merge_map({}, item, element))
        else:
            found[same] = _merge_map(found[same], item, element)
    return [row for row in found if row is not _GONE]


def _key(item: Json, key: str) -> Any:
    if key not in item:
        raise server_error(f"map: {plain(item)} does not contain declared merge key: {key}")
    return item[key]


def _identity(item: Any, key: str | None) -> Any:
    found = item.get(key) if key is not None and isinstance(item, dict) else item
    return orjson.dumps(found)


def _ordered(
    merged: list[Any], patch: list[Any], order: Any, key: str | None, live: list[Any]
) -> list[Any]:
    """Items of the patch in the order it gives, the others between them as they were in `live`."""
    if order is None:
        order = patch
    elif not isinstance(order, list):
        raise refused()
    places = {_identity(item, key): index for index, item in enumerate(order)}
    given = [item for item in merged if _identity(item, key) in places]
    others = [item for item in merged if _identity(item, key) not in places]
    given.sort(key=lambda item: places[_identity(item, key)])
    if not others:
        return given
    before = {_identity(item, key): index for index, item in enumerate(live)}
    out: list[Any] = []
    at_given = at_others = 0
    while at_given < len(given) or at_others < len(others):
        if at_given == len(given):
            out += others[at_others:]
            break
        if at_others == len(others):
            out += given[at_given:]
            break
        first = before.get(_identity(given[at_given], key), -1)
        second = before.get(_identity(others[at_others], key), -1)
        if 0 <= second < first:
            out.append(others[at_others])
            at_others += 1
        else:
            out.append(given[at_given])
            at_given += 1
    return out


def _delete_primitives(found: Json, patch: Json) -> None:
    for directive, gone in patch.items():
        if not directive.startswith(DELETE_PRIMITIVE):
            continue
        if not isinstance(gone, list):
            raise refused()
        key = directive[len(DELETE_PRIMITIVE) :]
        old = found.get(key)
        if isinstance(old, list):
            gone_items = {orjson.dumps(item) for item in gone}
            found[key] = [item for item in old if orjson.dumps(item) not in gone_items]


def _order_untouched(found: Json, patch: Json, node: Node | None) -> None:
    for directive, order in patch.items():
        if not directive.startswith(SET_ORDER):
            continue
        key = directive[len(SET_ORDER) :]
        old = found.get(key)
        if key not in patch and isinstance(old, list):
            field = _field(node, key)
            merge_key = field.merge_key if field is not None and field.merge_key else None
            found[key] = _ordered(old, [], order, merge_key, old)
