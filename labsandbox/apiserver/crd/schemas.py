"""Validates the schema inside a CustomResourceDefinition: is it structural, is it sound?"""

from __future__ import annotations

import re
from typing import Any

from labsandbox.apiserver.crd import structural
from labsandbox.apiserver.crd.extensions import check_extensions
from labsandbox.apiserver.crd.lists import check_lists
from labsandbox.apiserver.crd.structural import META_FIELDS
from labsandbox.apiserver.crd.values import Checker
from labsandbox.apiserver.validation.errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)

Json = dict[str, Any]
TYPES = ("array", "boolean", "integer", "number", "object", "string")
ROOT_FIELDS = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength "
    "MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties "
    "ExternalDocs Example XPreserveUnknownFields XValidations"
)
MUST_BE = {
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "type": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "nullable": "must be false to be structural",
    "additionalProperties": "must be undefined to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def validate_schema(validation: Json, field: str, has_status: bool) -> list[FieldError]:
    """`validation` is `{"openAPIV3Schema": …}` at `field`."""
    schema = validation.get("openAPIV3Schema")
    if schema is None:
        return []
    path = f"{field}.openAPIV3Schema"
    found: list[FieldError] = []
    if has_status:
        found += _root_fields(schema, path)
    if schema.get("nullable"):
        found.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    problems = sorted(_structural(schema, "root", path), key=str)
    if not problems:
        problems = _defaults(schema, path, is_root=True)
    found += problems
    plain, rules = check_schema(schema, path, True, None if problems else schema, "")
    return found + plain + rules


def _root_fields(schema: Json, path: str) -> list[FieldError]:
    kind = schema.get("type", "")
    if kind and kind != "object":
        detail = (
            'only "object" is allowed as the type at the root of the schema if the status '
            "subresource is enabled"
        )
        return [invalid(f"{path}.type", kind, detail)]
    for name in ("allOf", "anyOf", "oneOf", "not", "additionalProperties", "enum", "default"):
        if schema.get(name) is not None:
            detail = (
                f"only [{ROOT_FIELDS}] fields are allowed at the root of the schema if the status "
                "subresource is enabled"
            )
            return [invalid(path, schema, detail)]
    return []


def _structural(schema: Json, level: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    kind, items = schema.get("type", ""), schema.get("items")
    if kind == "array" and not isinstance(items, dict):
        found.append(required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        found += _structural(items, "item", f"{path}.items")
    properties = schema.get("properties") or {}
    for name, below in properties.items():
        found += _structural(below, "field", f"{path}.properties[{name}]")
    more = schema.get("additionalProperties")
    if more is not None and more is not False:
        if level == "root":
            found.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if isinstance(more, dict):
            found += _structural(more, "field", f"{path}.additionalProperties")
    free = schema.get("x-kubernetes-preserve-unknown-fields")
    either = schema.get("x-kubernetes-int-or-string")
    embedded = schema.get("x-kubernetes-embedded-resource")
    if either and free:
        where = f"{path}.x-kubernetes-preserve-unknown-fields"
        detail = "must be false if x-kubernetes-int-or-string is true"
        found.append(invalid(where, True, detail))
    if either and embedded:
        where = f"{path}.x-kubernetes-embedded-resource"
        detail = "must be false if x-kubernetes-int-or-string is true"
        found.append(invalid(where, True, detail))
    found += _value_validation(schema, path)
    if embedded and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        missing = not kind
        found.append(
            required(f"{path}.type", detail) if missing else invalid(f"{path}.type", kind, detail)
        )
    elif not kind and not either and not free:
        found.append(required(f"{path}.type", EMPTY_TYPE[level]))
    if embedded and more is not None:
        detail = "must not be used if x-kubernetes-embedded-resource is set"
        found.append(forbidden(f"{path}.additionalProperties", detail))
    if level == "root" and kind and kind != "object":
        found.append(invalid(f"{path}.type", kind, "must be object at the root"))
    return found + _meta_fields(schema, level, path)


def _meta_fields(schema: Json, level: str, path: str) -> list[FieldError]:
    embedded = schema.get("x-kubernetes-embedded-resource")
    properties = schema.get("properties") or {}
    found: list[FieldError] = []
    if level == "root" or embedded:
        for name in ("kind", "apiVersion"):
            kind = (properties.get(name) or {}).get("type", "")
            if name in properties and kind != "string":
                where = f"{path}.properties[{name}].type"
                found.append(invalid(where, kind, "must be string"))
        metadata = properties.get("metadata")
        if metadata is not None:
            where = f"{path}.properties[metadata]"
            if metadata.get("type", "") != "object":
                found.append(invalid(f"{where}.type", metadata.get("type", ""), "must be object"))
            rest = {
                key: value
                for key, value in metadata.items()
                if key not in ("type", "default", "description")
            }
            inner = rest.pop("properties", None) or {}
            if level == "root" and (rest or set(inner) - {"name", "generateName"}):
                detail = (
                    "must not specify anything other than name and generateName, but metadata is "
                    "implicitly specified"
                )
                found.append(forbidden(where, detail))
    free = schema.get("x-kubernetes-preserve-unknown-fields")
    if embedded and not free and not properties:
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields"
        )
        found.append(required(f"{path}.properties", detail))
    return found


def _value_validation(schema: Json, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    either = schema.get("x-kubernetes-int-or-string")
    for kind in ("anyOf", "allOf", "oneOf"):
        for index, inner in enumerate(schema.get(kind) or ()):
            types = sorted(str(row.get("type")) for row in schema.get("anyOf") or ())
            if kind == "anyOf" and either and types == ["integer", "string"]:
                continue
            found += _nested(inner, f"{path}.{kind}[{index}]")
    if schema.get("not") is not None:
        found += _nested(schema["not"], f"{path}.not")
    pattern = schema.get("pattern")
    if pattern:
        try:
            re.compile(pattern)
        except re.error as error:
            says = f"must be a valid regular expression, but isn't: {error}"
            found.append(invalid(f"{path}.pattern", pattern, says))
    return found


def _nested(schema: Json, path: str) -> list[FieldError]:
    found = _value_validation(schema, path)
    if isinstance(schema.get("items"), dict):
        found += _nested(schema["items"], f"{path}.items")
    properties = schema.get("properties") or {}
    for name, below in properties.items():
        found += _nested(below, f"{path}.properties[{name}]")
    for name, detail in MUST_BE.items():
        if schema.get(name):
            found.append(forbidden(f"{path}.{name}", detail))
    if "metadata" in properties:
        where = f"{path}.properties[metadata]"
        found.append(forbidden(where, "must not be specified in a nested context"))
    return found


def _defaults(schema: Json, path: str, is_root: bool = False) -> list[FieldError]:
    """Do defaults fit their own schema?"""
    found: list[FieldError] = []
    default = schema.get("default")
    if default is not None and not is_root:
        import copy

        pruned = copy.deepcopy(default)
        unknown = structural.prune(pruned, schema, is_root=False)
        if unknown:
            detail = f"must not have unknown fields in {', '.join(unknown)}"
            found.append(invalid(f"{path}.default", default, detail))
        else:
            found += [
                FieldError(
                    error.type,
                    _below(f"{path}.default", error.field),
                    error.bad_value,
                    error.detail,
                )
                for error in (*Checker().check(default, schema), *check_lists(default, schema))
            ]
    for name, below in (schema.get("properties") or {}).items():
        found += _defaults(below, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            found += _defaults(schema[name], f"{path}.{name}")
    return found


def _below(path: str, field: str) -> str:
    return path if field in ("", "<nil>") else f"{path}.{field}"


def check_schema(
    schema: Json,
    path: str,
    is_root: bool,
    typed: Json | None,
    old_self_banned: str,
    no_default: str = "",
) -> tuple[list[FieldError], list[FieldError]]:
    """(what is wrong with a schema, what is wrong with its CEL rules), inner schemas included.

    `typed` is the schema CEL rules see, None inside allOf and the like; `old_self_banned` the path
    from which on values cannot be told apart between two objects.
    """
    found = _standard(schema, path, no_default)
    rules: list[FieldError] = []
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(forbidden(f"{path}.uniqueItems", detail))
    more, properties = schema.get("additionalProperties"), schema.get("properties") or {}
    if more is not None and properties and more is not True:
        detail = "additionalProperties and properties are mutual exclusive"
        found.append(forbidden(f"{path}.additionalProperties", detail))

    def into(below: Json, where: str, seen: Json | None, banned: str, reason: str = "") -> None:
        plain, inner = check_schema(below, where, False, seen, banned, reason)
        found.extend(plain)
        rules.extend(inner)

    if isinstance(more, dict):
        into(more, f"{path}.additionalProperties", more if typed else None, old_self_banned)
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    for name, below in properties.items():
        reason = f"in top-level {name}" if is_root and name in META_FIELDS else ""
        banned = old_self_banned or (path if atomic else "")
        into(below, f"{path}.properties[{name}]", below if typed else None, banned, reason)
    if schema.get("not") is not None:
        into(schema["not"], f"{path}.not", None, old_self_banned)
    for kind in ("allOf", "oneOf", "anyOf"):
        for index, below in enumerate(schema.get(kind) or ()):
            into(below, f"{path}.{kind}[{index}]", None, old_self_banned)
    items = schema.get("items")
    if isinstance(items, dict):
        is_map = schema.get("x-kubernetes-list-type") == "map"
        banned = old_self_banned or ("" if is_map else path)
        into(items, f"{path}.items", items if typed else None, banned)
    plain, own = check_extensions(
        schema, path, typed if not found else None, old_self_banned, is_root
    )
    return found + plain, rules + own


def _standard(schema: Json, path: str, no_default: str) -> list[FieldError]:
    found: list[FieldError] = []
    kind = schema.get("type", "")
    if kind and kind not in TYPES:
        found.append(not_supported(f"{path}.type", kind, TYPES))
    if schema.get("default") is not None and no_default:
        found.append(forbidden(f"{path}.default", f"must not be set {no_default}"))
    for name in UNSUPPORTED:
        if schema.get(name) not in (None, "", {}, []):
            found.append(forbidden(f"{path}.{name}", f"{name} is not supported"))
    if kind == "null":
        detail = "type cannot be set to null, use nullable as an alternative"
        found.append(forbidden(f"{path}.type", detail))
    if isinstance(schema.get("items"), list):
        detail = "items must be a schema object and not an array"
        found.append(forbidden(f"{path}.items", detail))
    return found
