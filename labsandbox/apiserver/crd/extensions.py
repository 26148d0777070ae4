"""The x-kubernetes-… extensions of a schema: list and map types, and CEL rules."""

from __future__ import annotations

import re
from typing import Any

from labsandbox.apiserver.crd.goversions import rule_text
from labsandbox.apiserver.validation.errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from labsandbox.apiserver.validation.goprint import strings

Json = dict[str, Any]
REASONS = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)
NEWLINE = re.compile(r"[\n\r]+")


def check_extensions(
    schema: Json, path: str, typed: Json | None, old_self_banned: str, is_root: bool
) -> tuple[list[FieldError], list[FieldError]]:
    """(problems with list and map types and rule texts, problems with compiled rules)."""
    found: list[FieldError] = []
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        where = f"{path}.x-kubernetes-preserve-unknown-fields"
        found.append(invalid(where, False, "must be true or undefined"))
    found += _map_type(schema, path)
    found += _list_type(schema, path)
    rows = schema.get("x-kubernetes-validations") or []
    for index, row in enumerate(rows):
        found += _rule(row, f"{path}.x-kubernetes-validations[{index}]")
    if not rows or found or typed is None:
        return found, []
    return found, _compiled(rows, typed, path, old_self_banned, is_root)


def _wrong_type(schema: Json, wanted: str, name: str, path: str) -> list[FieldError]:
    kind = schema.get("type", "")
    if schema.get(name) is None or kind == wanted:
        return []
    detail = f"must be {wanted} if {name} is specified"
    return [invalid(f"{path}.type", kind, detail) if kind else required(f"{path}.type", detail)]


def _map_type(schema: Json, path: str) -> list[FieldError]:
    name = "x-kubernetes-map-type"
    found = _wrong_type(schema, "object", name, path)
    value = schema.get(name)
    if value is not None and value not in ("atomic", "granular"):
        found.append(not_supported(f"{path}.{name}", value, ("atomic", "granular")))
    return found


def _list_type(schema: Json, path: str) -> list[FieldError]:
    name, keys_name = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
    kind, keys, items = schema.get(name), schema.get(keys_name) or [], schema.get("items")
    found = _wrong_type(schema, "array", name, path)
    if not found and kind == "set" and isinstance(items, dict):
        found += _set_items(items, path)
    if kind is not None and kind not in ("atomic", "set", "map"):
        found.append(not_supported(f"{path}.{name}", kind, ("atomic", "set", "map")))
    if keys and kind != "map":
        detail = f"must be map if {keys_name} is non-empty"
        where = f"{path}.{name}"
        found.append(required(where, detail) if kind is None else invalid(where, kind, detail))
    if kind == "map":
        found += _map_list(keys, items, path)
    if kind in ("set", "map") and isinstance(items, dict):
        found += _keys(kind, keys, items, path)
    return found


def _set_items(items: Json, path: str) -> list[FieldError]:
    detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
    inner = items.get("x-kubernetes-list-type")
    if items.get("type") == "array" and inner not in (None, "atomic"):
        return [invalid(f"{path}.items.x-kubernetes-list-type", inner, detail)]
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        return [invalid(f"{path}.items.x-kubernetes-map-type", inner, detail)]
    return []


def _map_list(keys: list[str], items: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    keys_path = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        found.append(required(keys_path, detail))
    if items is None:
        detail = "must have a schema if x-kubernetes-list-type is map"
        return [*found, required(f"{path}.items", detail)]
    if not isinstance(items, dict):
        return found
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        return [*found, invalid(f"{path}.items.type", items.get("type", ""), detail)]
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            detail = "entries must all be names of item properties"
            found.append(invalid(keys_path, strings(keys), detail))
        elif properties[key].get("type") in ("array", "object"):
            where = f"{path}.items.properties[{key}].type"
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            found.append(invalid(where, "object", detail))
        if key in keys[:index]:
            detail = "must not contain duplicate entries"
            found.append(invalid(keys_path, strings(keys), detail))
    return found


def _keys(kind: str, keys: list[str], items: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if items.get("nullable"):
        detail = f"cannot be nullable when x-kubernetes-list-type is {kind}"
        found.append(forbidden(f"{path}.items.nullable", detail))
    needed = items.get("required") or ()
    for key in keys if kind == "map" else ():
        below = (items.get("properties") or {}).get(key)
        if below is None:
            continue
        where = f"{path}.items.properties[{key}]"
        if key not in needed and below.get("default") is None:
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be "
                "a required property"
            )
            found.append(required(f"{where}.default", detail))
        if below.get("nullable"):
            detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            found.append(forbidden(f"{where}.nullable", detail))
    return found


def _rule(row: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    rule, message = row.get("rule", "").strip(), row.get("message", "")
    said = message.strip()
    if not rule:
        found.append(required(f"{path}.rule", "rule is not specified"))
    elif message and not said:
        detail = "message must be non-empty if specified"
        found.append(invalid(f"{path}.message", message, detail))
    elif NEWLINE.search(said):
        detail = "message must not contain line breaks"
        found.append(invalid(f"{path}.message", message, detail))
    elif NEWLINE.search(rule) and not said:
        detail = "message must be specified if rule contains line breaks"
        found.append(required(f"{path}.message", detail))
    expression = row.get("messageExpression", "")
    if expression and not expression.strip():
        detail = "messageExpression must be non-empty if specified"
        found.append(required(f"{path}.messageExpression", detail))
    reason = row.get("reason")
    if reason is not None and reason not in REASONS:
        found.append(not_supported(f"{path}.reason", reason, REASONS))
    field = row.get("fieldPath", "")
    if field and not field.strip():
        detail = "fieldPath must be non-empty if specified"
        found.append(invalid(f"{path}.fieldPath", field, detail))
    if NEWLINE.search(field):
        detail = "fieldPath must not contain line breaks"
        found.append(invalid(f"{path}.fieldPath", field, detail))
    return found


def _compiled(
    rows: list[Json], typed: Json, path: str, old_self_banned: str, is_root: bool
) -> list[FieldError]:
    from labsandbox.apiserver.cel import CelError
    from labsandbox.apiserver.cel import compile as compile_cel
    from labsandbox.apiserver.cel.checks import check
    from labsandbox.apiserver.crd.rules import with_metadata

    schema = with_metadata(typed) if is_root else typed
    found: list[FieldError] = []
    for index, row in enumerate(rows):
        where = f"{path}.x-kubernetes-validations[{index}]"
        try:
            program = compile_cel(row["rule"])
            check(row["rule"], program.tree, {"self": schema, "oldSelf": schema})
        except CelError as error:
            detail = f"compilation failed: {error}"
            found.append(invalid(f"{where}.rule", rule_text(row), detail))
            continue
        if row.get("messageExpression"):
            try:
                compile_cel(row["messageExpression"])
            except CelError as error:
                detail = f"messageExpression compilation failed: {error}"
                found.append(invalid(f"{where}.messageExpression", rule_text(row), detail))
        if program.mentions("oldSelf"):
            if old_self_banned:
                detail = (
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                    f"{old_self_banned}"
                )
                found.append(invalid(f"{where}.rule", row["rule"], detail))
        elif row.get("optionalOldSelf") is not None:
            detail = "may not be set if oldSelf is not used in rule"
            found.append(invalid(f"{where}.optionalOldSelf", row["optionalOldSelf"], detail))
    return found
