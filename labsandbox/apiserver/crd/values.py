"""Validates custom objects against their schema; words and order are those of kube-openapi.

`old` is the stored value: what did not change is not judged again (validation ratcheting).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from labsandbox.apiserver.crd.formats import FORMATS
from labsandbox.apiserver.crd.structural import additional
from labsandbox.apiserver.validation.errors import (
    TYPE_INVALID,
    FieldError,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)
from labsandbox.apiserver.validation.goprint import number, quote

Json = dict[str, Any]
NOTHING = object()
NOWHERE = "<nil>"


@lru_cache(maxsize=512)
def regex(pattern: str) -> Any:
    """Go's RE2 where it is installed, so that no pattern can hang the server."""
    try:
        import re2  # type: ignore[import-untyped]
    except ImportError:
        return re.compile(pattern)
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _is_whole(value: float) -> bool:
    """A float that stands for an integer: whole, and in the range where floats are exact."""
    return value.is_integer() and abs(value) < 2**53


class Checker:
    """One validation run below `prefix` (`status` when only the status is judged)."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def _field(self, name: str) -> str:
        name = name.removeprefix(".")
        if not name:
            return self.prefix or NOWHERE
        return f"{self.prefix}.{name}" if self.prefix else name

    def check(
        self, value: Any, schema: Json, path: str = "", old: Any = NOTHING
    ) -> list[FieldError]:
        if old is not NOTHING and old == value:
            return []
        if value is None:
            return self._type(value, schema, path) + self._enum(value, schema, path)
        found = self._type(value, schema, path)
        found += self._combinations(value, schema, path)
        if isinstance(value, str):
            found += self._string(value, schema, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found += self._number(value, schema, path, is_typed=not found)
        elif isinstance(value, list):
            found += self._list(value, schema, path, old)
        found += self._enum(value, schema, path)
        if isinstance(value, dict):
            found += self._object(value, schema, path, old)
        return found

    def _invalid(self, path: str, value: Any, says: str) -> FieldError:
        return invalid(self._field(path), value, f"{path} in body {says}")

    def _type(self, value: Any, schema: Json, path: str) -> list[FieldError]:
        wanted = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else []
        if schema.get("type"):
            wanted = wanted or [schema["type"]]
        if not wanted:
            return []
        if value is None:
            if schema.get("nullable"):
                return []
            return [self._type_error(path, ",".join(wanted), "null")]
        kind = json_type(value)
        form = schema.get("format", "")
        if isinstance(value, str) and form in FORMATS and "string" in wanted:
            return []
        if kind in wanted or (kind == "integer" and "number" in wanted):
            return []
        if kind == "number" and "integer" in wanted and _is_whole(float(value)):
            return []
        return [self._type_error(path, ",".join(wanted), kind)]

    def _type_error(self, path: str, wanted: str, found: str) -> FieldError:
        detail = f"{path} in body must be of type {wanted}: {quote(found)}"
        return type_invalid(self._field(path), found, detail)

    def _enum(self, value: Any, schema: Json, path: str) -> list[FieldError]:
        allowed = schema.get("enum")
        if not allowed or any(value == item and type(value) is type(item) for item in allowed):
            return []
        if isinstance(value, float | int) and any(value == item for item in allowed):
            return []
        import orjson

        shown = [item if isinstance(item, str) else orjson.dumps(item).decode() for item in allowed]
        return [not_supported(self._field(path), value, shown)]

    def _string(self, value: str, schema: Json, path: str) -> list[FieldError]:
        found: list[FieldError] = []
        limit, least = schema.get("maxLength"), schema.get("minLength")
        if limit is not None and len(value) > limit:
            return [too_long(self._field(path), limit)]
        if least is not None and len(value) < least:
            return [self._invalid(path, value, f"should be at least {least} chars long")]
        pattern = schema.get("pattern")
        if pattern and regex(pattern).search(value) is None:
            return [self._invalid(path, value, f"should match '{pattern}'")]
        form = schema.get("format", "")
        if form in FORMATS and not FORMATS[form](value):
            detail = f"{path} in body must be of type {form}: {quote(value)}"
            found.append(FieldError(TYPE_INVALID, self._field(path), value, detail))
        return found

    def _number(self, value: float, schema: Json, path: str, *, is_typed: bool) -> list[FieldError]:
        found: list[FieldError] = []
        factor = schema.get("multipleOf")
        if factor and abs(value / factor - round(value / factor)) > 1e-9:
            found.append(self._invalid(path, value, f"should be a multiple of {number(factor)}"))
        high, low = schema.get("maximum"), schema.get("minimum")
        if high is not None:
            if schema.get("exclusiveMaximum") and value >= high:
                found.append(self._invalid(path, value, f"should be less than {number(high)}"))
            elif value > high:
                says = f"should be less than or equal to {number(high)}"
                found.append(self._invalid(path, value, says))
        if low is not None:
            if schema.get("exclusiveMinimum") and value <= low:
                found.append(self._invalid(path, value, f"should be greater than {number(low)}"))
            elif value < low:
                says = f"should be greater than or equal to {number(low)}"
                found.append(self._invalid(path, value, says))
        form = schema.get("format")
        if is_typed and form in ("int32", "int64") and float(value).is_integer():
            bits = int(form[3:]) - 1
            if not -(2**bits) <= value < 2**bits:
                says = f"Checked value must be of type integer with format {form} in {path}"
                found.append(invalid(self._field(path), value, says))
        return found

    def _list(self, value: list[Any], schema: Json, path: str, old: Any) -> list[FieldError]:
        found: list[FieldError] = []
        items = schema.get("items")
        if isinstance(items, dict):
            before = correlate(value, old, schema)
            for index, item in enumerate(value):
                found += self.check(item, items, f"{path}[{index}]", before[index])
        least, limit = schema.get("minItems"), schema.get("maxItems")
        if least is not None and len(value) < least:
            found.append(self._invalid(path, len(value), f"should have at least {least} items"))
        if limit is not None and len(value) > limit:
            found.append(too_many(self._field(path), len(value), limit))
        return found

    def _object(self, value: Json, schema: Json, path: str, old: Any) -> list[FieldError]:
        found: list[FieldError] = []
        least, limit = schema.get("minProperties"), schema.get("maxProperties")
        if least is not None and len(value) < least:
            return [self._invalid(path, len(value), f"should have at least {least} properties")]
        if limit is not None and len(value) > limit:
            return [too_many(self._field(path), len(value), limit)]
        properties = schema.get("properties") or {}
        more = additional(schema)
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            below = f"{path}.{key}" if path else key
            if key in properties:
                found += self.check(item, properties[key], below, before.get(key, NOTHING))
            elif isinstance(more, dict):
                found += self.check(item, more, below, before.get(key, NOTHING))
        for key in schema.get("required") or ():
            if key not in value:
                found.append(required(self._field(f"{path}.{key}")))
        return found

    def _combinations(self, value: Any, schema: Json, path: str) -> list[FieldError]:
        found: list[FieldError] = []
        named = quote(path)

        def say(text: str) -> None:
            found.append(FieldError("Invalid value", self.prefix or NOWHERE, "", f"{named} {text}"))

        any_of, one_of = schema.get("anyOf") or (), schema.get("oneOf") or ()
        if any_of and not _is_int_or_string(schema, any_of):
            results = [self.check(value, inner, path) for inner in any_of]
            if all(results):
                say("must validate at least one schema (anyOf)")
                found += _fewest(results)
        if one_of:
            results = [self.check(value, inner, path) for inner in one_of]
            good = sum(1 for result in results if not result)
            if good == 0:
                say("must validate one and only one schema (oneOf). Found none valid")
                found += _fewest(results)
            elif good > 1:
                text = f"Found {good} valid alternatives"
                say(f"must validate one and only one schema (oneOf). {text}")
        all_of = schema.get("allOf") or ()
        bad = 0
        for inner in all_of:
            result = self.check(value, inner, path)
            bad += bool(result)
            found += result
        if bad:
            say(
                "must validate all the schemas (allOf)"
                + (". None validated" * (bad == len(all_of)))
            )
        if schema.get("not") is not None and not self.check(value, schema["not"], path):
            say("must not validate the schema (not)")
        return found


def _fewest(results: list[list[FieldError]]) -> list[FieldError]:
    return min(results, key=lambda result: len(result))


def _is_int_or_string(schema: Json, any_of: Any) -> bool:
    if not schema.get("x-kubernetes-int-or-string"):
        return False
    return sorted(str(inner.get("type")) for inner in any_of) == ["integer", "string"]


def json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "null"


def correlate(value: list[Any], old: Any, schema: Json) -> list[Any]:
    """For each item the stored item it continues; NOTHING where that cannot be told."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list) or not keys:
        return [NOTHING] * len(value)
    index = {
        tuple(repr(item.get(key)) for key in keys): item for item in old if isinstance(item, dict)
    }
    return [
        index.get(tuple(repr(item.get(key)) for key in keys), NOTHING)
        if isinstance(item, dict)
        else NOTHING
        for item in value
    ]
